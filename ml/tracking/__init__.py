"""Runs, versions and champions in MLflow, and what a version was trained on."""
