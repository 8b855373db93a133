-- Loading fails at this line:
error('no database')
