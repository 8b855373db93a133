---@meta moonring.forms

---@class moonring.forms
local forms = {}

---@class moonring.FormPart
---@field name string
---@field value string a field's value, a file's content
---@field filename? string as the client sent it; only of a file
---@field no_file? true of a file input in which no file was chosen; it is in `parts` only
---@field content_type? string of a part of multipart/form-data, if it was sent

---@class moonring.Form
---@field fields table<string, string> the first value of each name
---@field files table<string, moonring.FormPart> the first file of each name
---@field parts moonring.FormPart[] fields and files as they were sent, repeats too

---@class moonring.FormLimits
---@field parts? integer 1000
---@field head_bytes? integer bytes that describe one part; 4096

---The form in `body`. What is no form, malformed or over a limit is nil, what is wrong, and the
---status that says so.
---@param body string
---@param content_type string value of that field
---@param limits? moonring.FormLimits
---@return moonring.Form? form
---@return string? problem
---@return 400|413|415|nil status
function forms.parse(body, content_type, limits) end

---The form that a request carries, as parse gives it.
---@param req moonring.Request
---@param limits? moonring.FormLimits
---@return moonring.Form? form
---@return string? problem
---@return 400|413|415|nil status
function forms.read(req, limits) end

return forms
