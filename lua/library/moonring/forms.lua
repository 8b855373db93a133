---@meta moonring.forms

---@class moonring.forms
local forms = {}

---@class moonring.FormPart
---@field name string
---@field value string a field's value, a file's content
---@field filename? string as sent by the client; only for a file
---@field no_file? true for a file input in which no file was chosen; only in `parts`
---@field content_type? string of a multipart/form-data part, if sent

---@class moonring.Form
---@field fields table<string, string> the first value of each name
---@field files table<string, moonring.FormPart> the first file of each name
---@field parts moonring.FormPart[] fields and files as sent, including repeats

---@class moonring.FormLimits
---@field parts? integer 1000
---@field head_bytes? integer bytes that describe one part; 4096

---The form in `body`. For anything that is not a form, malformed or over a limit: nil, a message, and the
---matching status.
---@param body string
---@param content_type string value of that field
---@param limits? moonring.FormLimits
---@return moonring.Form? form
---@return string? problem
---@return 400|413|415|nil status
function forms.parse(body, content_type, limits) end

---The form in a request, as returned by parse.
---@param req moonring.Request
---@param limits? moonring.FormLimits
---@return moonring.Form? form
---@return string? problem
---@return 400|413|415|nil status
function forms.read(req, limits) end

return forms
