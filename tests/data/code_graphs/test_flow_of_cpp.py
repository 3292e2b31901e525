"""Control flow and data flow of what only C++ has; the notation is that of the tests for C."""

from __future__ import annotations

import pytest
from code_graph_notation import data_edges, flow_edges, parse_data, parse_flow

CASES = {
    "range-based for": (
        """int f(V w) {
  int s = 0;
  for (auto x : w)
    s += x;
  return s;
}""",
        "1>2 2>3 3>4 3>5 4>3",
        "w: 1>3; x: 3>4; s: 2>4 4>4 2>5 4>5",
    ),
    "range-based for with continue and break": (
        """int f(V &w) {
  for (const auto &x : w) {
    if (x)
      continue;
    if (g(x))
      break;
  }
  return 0;
}""",
        "1>2 2>3 2>8 3>4 3>5 4>2 5>6 5>2 6>8",
        "w: 1>2; x: 2>3 2>5",
    ),
    "try, catch, throw": (
        """int f(int a) {
  try {
    a = g();
    throw a;
    a = 9;
  } catch (const E &e) {
    h(e);
  } catch (...) {
    a = 1;
  }
  return a;
}""",
        "1>2 2>3 2>6 2>8 3>4 3>6 3>8 4>6 4>8 5>6 5>8 5>11 6>7 7>11 8>9 9>11",
        "a: 3>4 1>11 3>11 5>11 9>11; e: 6>7",
    ),
    "try in a handler": (
        """int f(int a) {
  try {
    g();
  } catch (A x) {
    try {
      h();
    } catch (B y) {
      return 1;
    }
  }
  throw a;
}""",
        "1>2 2>3 2>4 3>4 3>11 4>5 5>6 5>7 6>7 6>11 7>8",
        "a: 1>11",
    ),
    "try in a try, with two handlers each": (
        """int f(int a) {
  try {
    try {
      g();
    } catch (A x) {
      a = 1;
    } catch (B x) {
      throw;
    }
  } catch (A y) {
    return a;
  } catch (B y) {
    h(a);
  }
  return 0;
}""",
        "1>2 2>3 2>10 2>12 3>4 3>5 3>7 3>10 3>12 4>5 4>7 4>15 5>6 5>10 5>12 6>15 6>10 6>12 7>8 7>10 7>12 8>10 8>12"
        " 10>11 12>13 13>15",
        "a: 1>11 1>13 6>11 6>13",
    ),
    "lambda": (
        """int f(int a) {
  auto g = [&](int b) {
    return a + b;
  };
  return g(1);
}""",
        "1>2a 2a>5 2b>3",
        "a: 1>3; b: 2>3; g: 2>5",
    ),
    "conditions that declare": (
        """int f(int a) {
  if (int x = g(a); x > 0)
    return x;
  if (auto y = g(a))
    return y;
  return a;
}""",
        "1>2 2>3 2>4 4>5 4>6",
        "a: 1>2 1>4 1>6; x: 2.1>2.2 2.1>3; y: 4>5",
    ),
    "bindings, references, qualified names": (
        """int f(P p) {
  auto [a, b] = p;
  int &r = a;
  r = N::b;
  return r + b;
}""",
        "1>2 2>3 3>4 4>5",
        "p: 1>2; a: 2>3; r: 4>5; b: 2>5",
    ),
    "methods in a class": (
        """class A {
  int f(int a) {
    return a;
  }
  int g(int a = 3) const {
    a++;
    return a;
  }
};""",
        "2>3 5>6 6>7",
        "a: 2>3 5>6 6>7",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_control_flow(name: str) -> None:
    source, expected, _ = CASES[name]
    assert flow_edges(source, "cpp") == parse_flow(expected)


@pytest.mark.parametrize("name", CASES)
def test_data_flow(name: str) -> None:
    source, _, expected = CASES[name]
    assert data_edges(source, "cpp") == parse_data(expected)
