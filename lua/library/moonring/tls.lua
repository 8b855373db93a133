---@meta
-- For editors only: what req.tls is. See docs/tls.md.

---@class moonring.Tls
---@field version string 'TLSv1.3'
---@field cipher string 'TLS_AES_128_GCM_SHA256'
---@field server_name string requested by the client; '' if none
---@field resumed boolean the session was resumed from an earlier connection
---@field client? moonring.TlsClient nil for a client without certificate

---A client's certificate, signed by an authority in --tls-client-ca.
---@class moonring.TlsClient
---@field subject string as in RFC 2253: 'CN=alice,O=Example'; at most 512 bytes
---@field issuer string
---@field serial string hexadecimal
---@field fingerprint string SHA-256, hexadecimal
