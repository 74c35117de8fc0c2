"""What a store's manager looks at in Tableau: documents and an extract, made from the tables' contracts."""
