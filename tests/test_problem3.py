"""Problem 3: the plain graph convolution against what it must be by its definition."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.datasets import KarateClub
from torch_geometric.nn import SAGEConv


def dense(x, edge_index):
    """mean over {u : u -> v} of h_u, plus h_v, with a dense adjacency matrix: A[v, u] counts the edges u -> v."""
    A = torch.zeros(len(x), len(x), dtype=x.dtype)
    A.index_put_((edge_index[1], edge_index[0]), torch.ones(edge_index.shape[1], dtype=x.dtype), accumulate=True)
    return A / A.sum(1, keepdim=True).clamp(min=1) @ x + x


def test_direction_is_source_to_target(problem3):
    """Edges 0 -> 1 and 0 -> 2: nodes 1 and 2 receive x_0, node 0 nothing."""
    x = torch.tensor([[1.0], [10.0], [100.0]])
    out = problem3.PlainGraphConvolution(1)(x, torch.tensor([[0, 0], [1, 2]]))
    assert out.flatten().tolist() == [1.0, 11.0, 101.0]


def test_karate_club_equals_dense_and_pyg(problem3):
    graph = KarateClub()[0]
    layer = SAGEConv(34, 34, aggr="mean", bias=False)
    for linear in (layer.lin_l, layer.lin_r):
        torch.nn.init.eye_(linear.weight)
    ours = problem3.PlainGraphConvolution(34)(graph.x, graph.edge_index)
    torch.testing.assert_close(ours, dense(graph.x, graph.edge_index))
    torch.testing.assert_close(ours, layer(graph.x, graph.edge_index).detach())


@pytest.mark.parametrize(
    "edges", [[], [(0, 0), (1, 1), (2, 2)], [(0, 1), (0, 1), (2, 1)]], ids=["none", "loops", "double"]
)
def test_odd_graphs(problem3, edges):
    x = torch.randn(4, 3)
    edge_index = torch.tensor(edges, dtype=torch.long).reshape(-1, 2).T
    out = problem3.PlainGraphConvolution(3)(x, edge_index)
    assert out.isfinite().all()
    torch.testing.assert_close(out, dense(x, edge_index))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=30))
def test_any_graph(problem3, edges):
    x = torch.arange(12.0).reshape(6, 2)
    edge_index = torch.tensor(edges, dtype=torch.long).reshape(-1, 2).T
    torch.testing.assert_close(problem3.PlainGraphConvolution(2)(x, edge_index), dense(x, edge_index))
