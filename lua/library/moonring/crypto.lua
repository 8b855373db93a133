---@meta moonring.crypto

---Digests, HMAC, random bytes, UUIDs and encodings.
---@class moonring.crypto
local crypto = {}

---@alias moonring.Encoding 'hex'|'base64'|'base64url'
---@alias moonring.Digest 'sha1'|'sha256'|'sha384'|'sha512'

---@param data string
---@param encoding? moonring.Encoding nil: the bytes
---@return string
function crypto.sha1(data, encoding) end

---@param data string
---@param encoding? moonring.Encoding nil: the bytes
---@return string
function crypto.sha256(data, encoding) end

---@param data string
---@param encoding? moonring.Encoding nil: the bytes
---@return string
function crypto.sha384(data, encoding) end

---@param data string
---@param encoding? moonring.Encoding nil: the bytes
---@return string
function crypto.sha512(data, encoding) end

---@param algorithm moonring.Digest
---@param key string
---@param data string
---@param encoding? moonring.Encoding nil: the bytes
---@return string
function crypto.hmac(algorithm, key, data, encoding) end

---Random bytes for keys and tokens.
---@param length integer bytes, at most 1 MiB
---@param encoding? moonring.Encoding nil: the bytes
---@return string
function crypto.random(length, encoding) end

---Whether two strings are equal, in constant time.
---@param a string
---@param b string
---@return boolean
function crypto.equal(a, b) end

---@param data string
---@return string
function crypto.hex_encode(data) end

---@param text string
---@return string? data
---@return string? problem
function crypto.hex_decode(text) end

---With padding.
---@param data string
---@return string
function crypto.base64_encode(data) end

---@param text string
---@return string? data
---@return string? problem
function crypto.base64_decode(text) end

---Without padding.
---@param data string
---@return string
function crypto.base64url_encode(data) end

---@param text string
---@return string? data
---@return string? problem
function crypto.base64url_decode(text) end

---A random UUID.
---@return string
function crypto.uuid4() end

---A UUID that begins with the time.
---@return string
function crypto.uuid7() end

return crypto
