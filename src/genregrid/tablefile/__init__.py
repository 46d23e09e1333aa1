"""Files of tables, whatever their kind, as the bytes and the rows of a CSV."""
