-- Content derived from the target, an echo of the request content, and many ways to crash a process.
local bit = require('bit')
local ffi = require('ffi')

ffi.cdef([[
int chdir(const char *path);
int getpid(void);
int kill(int pid, int signal);
int raise(int signal);
void abort(void);
void *memset(void *memory, int value, size_t size);
void *mmap(void *address, size_t size, int protection, int flags, int fd, long offset);
int memfd_create(const char *name, unsigned flags);
long syscall(long number, ...);
]])

local C = ffi.C
local is_arm = ffi.arch == 'arm64'
local READ, WRITE, EXEC = 1, 2, 4
local SHARED, PRIVATE, ANONYMOUS, NORESERVE = 1, 2, 0x20, 0x4000
local PAGE = 65536
local SIGKILL, SIGFPE = 9, 8

-- Machine code in a page that it maps: anything that a C handler may do wrong.
local function code(x64, arm64)
  local bytes = is_arm and arm64 or x64
  local page = C.mmap(nil, PAGE, bit.bor(READ, WRITE, EXEC), bit.bor(PRIVATE, ANONYMOUS), -1, 0)
  ffi.copy(page, bytes, #bytes)
  return ffi.cast('void (*)(void)', page)
end

local function write_nowhere()
  ffi.cast('int *', 8)[0] = 1
end

-- A single call, which no timeout interrupts.
local function take(megabytes)
  local size = megabytes * 1024 * 1024
  local flags = bit.bor(PRIVATE, ANONYMOUS, NORESERVE)
  C.memset(C.mmap(nil, size, bit.bor(READ, WRITE), flags, -1, 0), 1, size)
end

local ends = {
  ['/crash'] = write_nowhere,
  ['/SIGSEGV'] = write_nowhere,
  ['/SIGABRT'] = C.abort,
  -- ud2; udf
  ['/SIGILL'] = function()
    code('\x0f\x0b', '\0\0\0\0')()
  end,
  -- xor ecx, ecx; idiv ecx. On arm64 a division by zero does not trap.
  ['/SIGFPE'] = function()
    if is_arm then
      C.raise(SIGFPE)
    end
    code('\x31\xc9\xf7\xf9', '')()
  end,
  -- Past the end of a mapped file.
  ['/SIGBUS'] = function()
    local page = C.mmap(nil, PAGE, READ, SHARED, C.memfd_create('empty', 0), 0)
    return ffi.cast('volatile char *', page)[0]
  end,
  -- call to itself; stp x29, x30, [sp, #-16]! and a branch back to it
  ['/overflow'] = function()
    code('\xe8\xfb\xff\xff\xff', '\xfd\x7b\xbf\xa9\xff\xff\xff\x17')()
  end,
  -- The kernel no longer finds the robust mutexes of this thread.
  ['/hidden'] = function()
    C.syscall(is_arm and 99 or 273, nil, ffi.cast('size_t', 24))
    C.kill(C.getpid(), SIGKILL)
  end,
  ['/eat'] = function()
    take(8192)
  end,
  ['/loop'] = function()
    while true do
    end
  end,
  -- jmp to itself; b to itself
  ['/loop-in-c'] = function()
    code('\xeb\xfe', '\0\0\0\x14')()
  end,
}

function handle(req, res)
  local path = req.url
  local size = tonumber(path:match('^/fill/(%d+)'))
  local directory = path:match('^/chdir(/.*)')
  if path == '/crash-on-worker' then
    if not req:in_worker() then
      return 'worker'
    end
    write_nowhere()
  elseif size then
    res:body((path .. ' '):rep(math.ceil(size / (#path + 1))):sub(1, size))
  elseif ends[path] then
    ends[path]()
  elseif directory then
    res:body(tostring(C.chdir(directory)))
  else
    res:body(req:body())
  end
end
