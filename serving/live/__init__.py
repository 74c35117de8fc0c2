"""The live page: a server that is told of changes in the serving store, and the page that browsers show."""
