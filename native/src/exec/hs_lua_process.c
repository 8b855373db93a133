#include "exec/hs_lua_process.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hs_alloc.h"
#include "os/hs_spawn.h"

/* Keys of the registry. */
#define PROCESS "moonring.process"
#define ABANDONED "moonring.abandoned"
/* Formats that lines() keeps for its iterator. */
#define FORMATS_MAX 16

/* A started program. owner: its process_t, or `abandoned` */
typedef struct child {
    pid_t pid;
    struct child *next;
} child_t;

/* Programs whose object was collected while they were running: reaped when the next one starts, and
 * abandoned when the state closes. owner: the state, as a userdata */
typedef struct abandoned {
    child_t *first;
    bool closed; /* finalizers may run after this one's */
} abandoned_t;

/* The object returned by io.popen. owner: the state, as a userdata */
typedef struct process {
    FILE *stream; /* NULL: closed */
    child_t *child;
    abandoned_t *abandoned;
} process_t;

static int push_failure(lua_State *state, int error)
{
    lua_pushnil(state);
    lua_pushstring(state, strerror(error));
    lua_pushinteger(state, error);
    return 3;
}

/* As Lua 5.2: true or nil, "exit" or "signal", and the number. */
static int push_status(lua_State *state, int status)
{
    bool by_signal = WIFSIGNALED(status);
    int number = by_signal ? WTERMSIG(status) : WEXITSTATUS(status);
    if (!by_signal && number == 0)
        lua_pushboolean(state, 1);
    else
        lua_pushnil(state);
    lua_pushstring(state, by_signal ? "signal" : "exit");
    lua_pushinteger(state, number);
    return 3;
}

static process_t *any_process(lua_State *state, int index)
{
    return luaL_checkudata(state, index, PROCESS);
}

static process_t *open_process(lua_State *state, int index)
{
    process_t *process = any_process(state, index);
    if (process->stream == NULL)
        luaL_error(state, "attempt to use a closed file");
    return process;
}

static void reap(abandoned_t *abandoned)
{
    child_t **link = &abandoned->first;
    while (*link != NULL) {
        child_t *child = *link;
        if (!hs_spawn_poll(child->pid)) {
            link = &child->next;
            continue;
        }
        *link = child->next;
        hs_free(child);
    }
}

static int close_abandoned(lua_State *state)
{
    abandoned_t *abandoned = lua_touserdata(state, 1);
    reap(abandoned);
    abandoned->closed = true;
    while (abandoned->first != NULL) {
        child_t *child = abandoned->first;
        abandoned->first = child->next;
        hs_free(child);
    }
    return 0;
}

/* The collector does not wait for a program. */
static int collect_process(lua_State *state)
{
    process_t *process = any_process(state, 1);
    if (process->stream != NULL)
        (void)fclose(process->stream);
    process->stream = NULL;
    child_t *child = process->child;
    process->child = NULL;
    if (child == NULL)
        return 0;
    abandoned_t *abandoned = process->abandoned;
    if (hs_spawn_poll(child->pid) || abandoned->closed) {
        hs_free(child);
        return 0;
    }
    child->next = abandoned->first;
    abandoned->first = child;
    return 0;
}

static int close_process(lua_State *state)
{
    process_t *process = open_process(state, 1);
    int lost = fclose(process->stream) == 0 ? 0 : errno;
    process->stream = NULL;
    int status;
    int result = hs_spawn_wait(process->child->pid, &status);
    hs_free(process->child);
    process->child = NULL;
    if (result < 0)
        return push_failure(state, -result);
    if (lost != 0 && lost != EPIPE)
        return push_failure(state, lost);
    return push_status(state, status);
}

/* Pushes a line, without its end if `chop`. False at the end of the file, with nil pushed. */
static bool read_line(lua_State *state, FILE *stream, bool chop)
{
    luaL_Buffer buffer;
    luaL_buffinit(state, &buffer);
    bool has_any = false;
    int byte;
    while ((byte = getc_unlocked(stream)) != EOF) {
        has_any = true;
        if (byte != '\n' || !chop)
            luaL_addchar(&buffer, (char)byte);
        if (byte == '\n')
            break;
    }
    luaL_pushresult(&buffer);
    if (has_any)
        return true;
    lua_pop(state, 1);
    lua_pushnil(state);
    return false;
}

/* Pushes up to `count` bytes. False if there was none, with nil pushed. */
static bool read_bytes(lua_State *state, FILE *stream, size_t count)
{
    luaL_Buffer buffer;
    luaL_buffinit(state, &buffer);
    size_t total = 0;
    size_t n = 1;
    while (total < count && n > 0) {
        char *piece = luaL_prepbuffer(&buffer);
        n = fread(piece, 1, hs_min(count - total, LUAL_BUFFERSIZE), stream);
        luaL_addsize(&buffer, n);
        total += n;
    }
    luaL_pushresult(&buffer);
    if (total > 0)
        return true;
    lua_pop(state, 1);
    lua_pushnil(state);
    return false;
}

/* read(0): "" unless the file is at its end. */
static bool test_end(lua_State *state, FILE *stream)
{
    int byte = getc(stream);
    if (byte == EOF) {
        lua_pushnil(state);
        return false;
    }
    (void)ungetc(byte, stream);
    lua_pushliteral(state, "");
    return true;
}

static bool read_number(lua_State *state, FILE *stream)
{
    double number;
    if (fscanf(stream, "%lf", &number) == 1) {
        lua_pushnumber(state, number);
        return true;
    }
    lua_pushnil(state);
    return false;
}

static bool read_format(lua_State *state, FILE *stream, int index)
{
    if (lua_type(state, index) == LUA_TNUMBER) {
        lua_Number count = lua_tonumber(state, index);
        luaL_argcheck(state, count >= 0 && count < (lua_Number)INT32_MAX, index, "invalid length");
        return count < 1 ? test_end(state, stream) : read_bytes(state, stream, (size_t)count);
    }
    const char *format = luaL_checkstring(state, index);
    format += *format == '*';
    switch (*format) {
    case 'n':
        return read_number(state, stream);
    case 'l':
    case 'L':
        return read_line(state, stream, *format == 'l');
    case 'a':
        if (!read_bytes(state, stream, SIZE_MAX)) {
            lua_pop(state, 1);
            lua_pushliteral(state, "");
        }
        return true;
    default:
        return luaL_argerror(state, index, "invalid format") != 0;
    }
}

/* Reads according to the arguments from `first` to `last`; by default a line. */
static int read_formats(lua_State *state, FILE *stream, int first, int last)
{
    int before = lua_gettop(state);
    luaL_checkstack(state, last - first + 2 + LUA_MINSTACK, "too many arguments");
    clearerr(stream);
    errno = 0;
    if (last < first)
        (void)read_line(state, stream, true);
    for (int index = first; index <= last; index++)
        if (!read_format(state, stream, index))
            break;
    if (ferror(stream))
        return push_failure(state, errno);
    return lua_gettop(state) - before;
}

static int read_process(lua_State *state)
{
    FILE *stream = open_process(state, 1)->stream;
    return read_formats(state, stream, 2, lua_gettop(state));
}

/* Upvalues: the object and the formats. */
static int next_line(lua_State *state)
{
    lua_settop(state, 0);
    int count = (int)lua_tointeger(state, lua_upvalueindex(1));
    luaL_checkstack(state, count + 1, "too many arguments");
    for (int i = 0; i <= count; i++)
        lua_pushvalue(state, lua_upvalueindex(2 + i));
    FILE *stream = open_process(state, 1)->stream;
    int results = read_formats(state, stream, 2, count + 1);
    if (lua_isnil(state, -results) && results == 3)
        return luaL_error(state, "%s", lua_tostring(state, -2));
    return results;
}

static int lines_of_process(lua_State *state)
{
    (void)open_process(state, 1);
    int count = lua_gettop(state) - 1;
    luaL_argcheck(state, count <= FORMATS_MAX, FORMATS_MAX + 2, "too many formats");
    lua_pushinteger(state, count);
    lua_insert(state, 1);
    lua_pushcclosure(state, next_line, count + 2);
    return 1;
}

static int write_process(lua_State *state)
{
    process_t *process = open_process(state, 1);
    int last = lua_gettop(state);
    for (int index = 2; index <= last; index++) {
        size_t len;
        const char *text = luaL_checklstring(state, index, &len);
        if (fwrite(text, 1, len, process->stream) != len)
            return push_failure(state, errno);
    }
    lua_settop(state, 1);
    return 1;
}

static int flush_process(lua_State *state)
{
    if (fflush(open_process(state, 1)->stream) != 0)
        return push_failure(state, errno);
    lua_pushboolean(state, 1);
    return 1;
}

static int setvbuf_of_process(lua_State *state)
{
    static const char *const names[] = { "no", "line", "full", NULL };
    static const int modes[] = { _IONBF, _IOLBF, _IOFBF };
    FILE *stream = open_process(state, 1)->stream;
    int mode = modes[luaL_checkoption(state, 2, NULL, names)];
    lua_Integer size = luaL_optinteger(state, 3, BUFSIZ);
    luaL_argcheck(state, size > 0 && size < INT32_MAX, 3, "invalid size");
    if (setvbuf(stream, NULL, mode, (size_t)size) != 0)
        return push_failure(state, errno);
    lua_pushboolean(state, 1);
    return 1;
}

static int seek_in_process(lua_State *state)
{
    (void)open_process(state, 1);
    return push_failure(state, ESPIPE);
}

static int process_to_string(lua_State *state)
{
    const process_t *process = any_process(state, 1);
    if (process->stream == NULL)
        lua_pushliteral(state, "file (closed)");
    else
        lua_pushfstring(state, "file (%p)", (const void *)process->stream);
    return 1;
}

static int popen_process(lua_State *state)
{
    const char *command = luaL_checkstring(state, 1);
    const char *mode = luaL_optstring(state, 2, "r");
    luaL_argcheck(state, strcmp(mode, "r") == 0 || strcmp(mode, "w") == 0, 2, "invalid mode");
    lua_getfield(state, LUA_REGISTRYINDEX, ABANDONED);
    abandoned_t *abandoned = lua_touserdata(state, -1);
    reap(abandoned);
    process_t *process = lua_newuserdata(state, sizeof(*process));
    *process = (process_t){ .abandoned = abandoned };
    luaL_getmetatable(state, PROCESS);
    lua_setmetatable(state, -2);
    process->child = hs_alloc(sizeof(*process->child));
    if (process->child == NULL)
        return push_failure(state, ENOMEM);
    hs_spawned_t spawned;
    int result = hs_spawn_shell(command, *mode == 'r' ? HS_SPAWN_READ : HS_SPAWN_WRITE, &spawned);
    if (result < 0) {
        hs_free(process->child);
        process->child = NULL;
        return push_failure(state, -result);
    }
    *process->child = (child_t){ .pid = spawned.pid };
    process->stream = fdopen(spawned.fd, mode);
    if (process->stream != NULL)
        return 1;
    int error = errno;
    (void)close(spawned.fd); /* the program notices; the collector reaps it */
    return push_failure(state, error);
}

/* The result of system(3), as in LuaJIT. */
static int execute(lua_State *state)
{
    const char *command = luaL_optstring(state, 1, NULL);
    if (command == NULL) {
        lua_pushinteger(state, access("/bin/sh", X_OK) == 0);
        return 1;
    }
    hs_spawned_t spawned;
    int status = -1;
    int result = hs_spawn_shell(command, HS_SPAWN_NO_PIPE, &spawned);
    if (result == 0)
        result = hs_spawn_wait(spawned.pid, &status);
    lua_pushinteger(state, result == 0 ? status : -1);
    return 1;
}

static int refuse_exit(lua_State *state)
{
    return luaL_error(state, "os.exit would end the whole process and every request in it: "
                             "return from the function, or raise an error");
}

static bool is_process(lua_State *state, int index)
{
    if (!lua_isuserdata(state, index) || !lua_getmetatable(state, index))
        return false;
    luaL_getmetatable(state, PROCESS);
    bool is_same = lua_rawequal(state, -1, -2) != 0;
    lua_pop(state, 2);
    return is_same;
}

/* Calls the replaced function, which is the first upvalue. */
static int call_replaced(lua_State *state)
{
    lua_pushvalue(state, lua_upvalueindex(1));
    lua_insert(state, 1);
    lua_call(state, lua_gettop(state) - 1, LUA_MULTRET);
    return lua_gettop(state);
}

static int io_close(lua_State *state)
{
    return is_process(state, 1) ? close_process(state) : call_replaced(state);
}

static int io_type(lua_State *state)
{
    if (!is_process(state, 1))
        return call_replaced(state);
    lua_pushstring(state, any_process(state, 1)->stream != NULL ? "file" : "closed file");
    return 1;
}

static void set_methods(lua_State *state)
{
    static const luaL_Reg methods[] = {
        { "close", close_process },          { "flush", flush_process },
        { "lines", lines_of_process },       { "read", read_process },
        { "seek", seek_in_process },         { "setvbuf", setvbuf_of_process },
        { "write", write_process },          { "__gc", collect_process },
        { "__tostring", process_to_string }, { NULL, NULL },
    };
    luaL_newmetatable(state, PROCESS);
    luaL_register(state, NULL, methods);
    lua_pushvalue(state, -1);
    lua_setfield(state, -2, "__index");
    lua_pop(state, 1);
}

/* On top of the stack: the library. */
static void replace(lua_State *state, const char *name, lua_CFunction function)
{
    lua_getfield(state, -1, name);
    lua_pushcclosure(state, function, 1);
    lua_setfield(state, -2, name);
}

static void set_function(lua_State *state, const char *name, lua_CFunction function)
{
    lua_pushcfunction(state, function);
    lua_setfield(state, -2, name);
}

static void set_abandoned(lua_State *state)
{
    abandoned_t *abandoned = lua_newuserdata(state, sizeof(*abandoned));
    *abandoned = (abandoned_t){ 0 };
    lua_createtable(state, 0, 1);
    set_function(state, "__gc", close_abandoned);
    lua_setmetatable(state, -2);
    lua_setfield(state, LUA_REGISTRYINDEX, ABANDONED);
}

void hs_lua_process_open(lua_State *state)
{
    set_methods(state);
    set_abandoned(state);
    lua_getglobal(state, "io");
    set_function(state, "popen", popen_process);
    replace(state, "close", io_close);
    replace(state, "type", io_type);
    lua_getglobal(state, "os");
    set_function(state, "execute", execute);
    set_function(state, "exit", refuse_exit);
    lua_pop(state, 2);
}
