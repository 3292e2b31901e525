"""Graph neural networks."""

from counterpoise.models.gnn.gnn import GNN, GNNConfig

__all__ = ["GNN", "GNNConfig"]
