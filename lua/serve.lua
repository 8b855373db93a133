-- The app of `moonring serve <directory>`: the options of its command line, including the root, are passed in
-- MOONRING_SITE, a JSON object.
local text = assert(os.getenv 'MOONRING_SITE', 'this is the app of `moonring serve <directory>`')
local options = require('moonring.json').decode(text)
local root = options.root
options.root = nil

handle = moonring.static(root, options)
