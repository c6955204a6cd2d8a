"""How MLflow is told while cells run: by a process of its own, which a run never waits for."""
