-- Loads no further than this line:
error('no database')
