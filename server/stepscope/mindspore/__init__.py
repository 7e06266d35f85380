"""What operators import: `register` for a model's servable_config.py, `server` for a start script."""
