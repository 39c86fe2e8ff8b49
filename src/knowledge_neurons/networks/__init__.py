"""How the engine sees a model."""
