"""The pure decisions of the guard and the router, over governance.yaml."""
