"""Control flow and data flow of small C functions, all edges worked out by hand.

Flow edges: ``2>3`` leads from the statement on line 2 to the one on line 3; where a line has several nodes of the
flow they are 2a, 2b, ... in the order of the source (the parts of a ``for``; a label and its statement). The function
is the node on its first line. Data flow: ``n: 1>3.2`` leads from ``n`` on line 1 to the second ``n`` on line 3;
without ordinal it is the only one.
"""

from __future__ import annotations

import pytest
from code_graph_notation import data_edges, flow_edges, parse_data, parse_flow

CASES = {
    "straight": (
        """int f(int a) {
  int b = a;
  b = b + a;
  return b;
}""",
        "1>2 2>3 3>4",
        "a: 1>2 1>3; b: 2>3.2 3.1>4",
    ),
    "if": (
        """int f(int a) {
  int b = 0;
  if (a)
    b = 1;
  return b;
}""",
        "1>2 2>3 3>4 3>5 4>5",
        "a: 1>3; b: 2>5 4>5",
    ),
    "else if": (
        """int f(int a, int b) {
  if (a > 1)
    b = 1;
  else if (a > 2)
    b = 2;
  else
    b = 3;
  return b;
}""",
        "1>2 2>3 2>4 3>8 4>5 4>7 5>8 7>8",
        "a: 1>2 1>4; b: 3>8 5>8 7>8",
    ),
    "dangling else": (
        """int f(int a, int b) {
  if (a)
    if (b)
      a = 1;
    else
      a = 2;
  return a;
}""",
        "1>2 2>3 2>7 3>4 3>6 4>7 6>7",
        "a: 1>2 1>7 4>7 6>7; b: 1>3",
    ),
    "both branches return": (
        """int f(int a) {
  if (a)
    return 1;
  else
    return 2;
  a = 3;
}""",
        "1>2 2>3 2>5",
        "a: 1>2",
    ),
    "while": (
        """int f(int n) {
  int s = 0;
  while (n > 0) {
    s += n;
    n--;
  }
  return s;
}""",
        "1>2 2>3 3>4 4>5 5>3 3>7",
        "n: 1>3 1>4 1>5 5>3 5>4 5>5; s: 2>4 4>4 2>7 4>7",
    ),
    "while, a write in the condition": (
        """int f(int a, int b, int c) {
  a = b = c;
  while ((a = g()) > 0 && b)
    c = a;
  return c;
}""",
        "1>2 2>3 3>4 4>3 3>5",
        "a: 3>4; b: 2>3; c: 1>2 1>5 4>5",
    ),
    "do with continue and break": (
        """int f(int n) {
  do {
    if (n == 5)
      continue;
    if (n == 7)
      break;
    n = n - 1;
  } while (n);
  return n;
}""",
        "1>3 3>4 4>8 3>5 5>6 6>9 5>7 7>8 8>3 8>9",
        "n: 1>3 1>5 1>7.2 1>8 1>9 7.1>3 7.1>5 7.1>7.2 7.1>8 7.1>9",
    ),
    "while as the body of do": (
        """int f(int a) {
  do
    while (a > 3)
      a--;
  while (a);
}""",
        "1>3 3>4 4>3 3>5 5>3",
        "a: 1>3 1>4 4>3 4>4 1>5 4>5",
    ),
    "for": (
        """int f(int n) {
  int i, s = 0;
  for (i = 0; i < n; i++)
    s += i;
  return s;
}""",
        "1>2 2>3a 3a>3b 3b>4 4>3c 3c>3b 3b>5",
        "n: 1>3; i: 3.1>3.2 3.1>3.3 3.1>4 3.3>3.2 3.3>3.3 3.3>4; s: 2>4 4>4 2>5 4>5",
    ),
    "for without parts": (
        """int f(int a) {
  for (;;) {
    if (a)
      break;
    a = g();
  }
  return a;
}""",
        "1>3 3>4 4>7 3>5 5>3",
        "a: 1>3 5>3 1>7 5>7",
    ),
    "for with some parts": (
        """int f(int a) {
  for (; a < 9; )
    a++;
  for (a = 1; ; a++) {
    if (a > 3)
      continue;
    return a;
  }
}""",
        "1>2 2>3 3>2 2>4a 4a>5 5>6 6>4b 5>7 4b>5",
        "a: 1>2 1>3 3>2 3>3 4.1>5 4.1>7 4.1>4.2 4.2>5 4.2>7 4.2>4.2",
    ),
    "for without end or content": (
        """int f(int a) {
  a = 1;
  for (;;) {
  }
  return a;
}""",
        "1>2",
        "",
    ),
    "for with an empty statement": (
        """int f(void) {
  for (;;)
    ;
  g();
}""",
        "1>3 3>3",
        "",
    ),
    "for declares": (
        """int f(int i) {
  for (int i = 0; i < 3; i++)
    g(i);
  return i;
}""",
        "1>2a 2a>2b 2b>3 3>2c 2c>2b 2b>4",
        "i: 2.1>2.2 2.1>2.3 2.1>3 2.3>2.2 2.3>2.3 2.3>3 1>4",
    ),
    "two fors declare the same": (
        """int f(int n) {
  for (int i = 0; i < n;)
    i++;
  for (int i = 9; i > n;)
    i--;
  return i;
}""",
        "1>2a 2a>2b 2b>3 3>2b 2b>4a 4a>4b 4b>5 5>4b 4b>6",
        "n: 1>2 1>4; i: 2.1>2.2 2.1>3 3>2.2 3>3 4.1>4.2 4.1>5 5>4.2 5>5",
    ),
    "nested for left by goto": (
        """int f(int n) {
  int i, j;
  for (i = 0; i < n; i++)
    for (j = i; j < n; j++)
      if (j == 3)
        goto done;
done:
  return i + j;
}""",
        "1>2 2>3a 3a>3b 3b>4a 3b>7 4a>4b 4b>5 4b>3c 5>6 5>4c 4c>4b 6>7 3c>3b 7>8",
        "n: 1>3 1>4; i: 3.1>3.2 3.1>3.3 3.1>4 3.1>8 3.3>3.2 3.3>3.3 3.3>4 3.3>8;"
        "j: 2>8 4.1>4.2 4.1>4.3 4.1>5 4.1>8 4.3>4.2 4.3>4.3 4.3>5 4.3>8",
    ),
    "blocks shadow": (
        """int f(int x) {
  {
    int x = 1;
    g(x);
  }
  g(x);
  {
    x = 2;
    int x;
    x = 3;
  }
  return x;
}""",
        "1>3 3>4 4>6 6>8 8>9 9>10 10>12",
        "x: 3>4 1>6 8>12",
    ),
    "shadowing three deep": (
        """int f(int x) {
  if (x) {
    int x = 2;
    while (x) {
      int x = 3;
      g(x);
    }
    g(x);
  }
  return x;
}""",
        "1>2 2>3 2>10 3>4 4>5 5>6 6>4 4>8 8>10",
        "x: 1>2 3>4 5>6 3>8 1>10",
    ),
    "switch with default in the middle": (
        """int f(int a) {
  int r = 0;
  switch (a) {
  case 1:
    r = 1;
  default:
    r += 2;
    break;
  case 2:
    r = 3;
  }
  return r;
}""",
        "1>2 2>3 3>4 3>6 3>9 4>5 5>6 6>7 7>8 8>12 9>10 10>12",
        "a: 1>3; r: 2>7 5>7 7>12 10>12",
    ),
    "switch without default, and an empty one": (
        """int f(int a) {
  switch (a) {
  case 1:
  case 2:
    a = 0;
    break;
  }
  switch (a) {
  }
  return a;
}""",
        "1>2 2>3 2>4 2>8 3>4 4>5 5>6 6>8 8>10",
        "a: 1>2 1>8 5>8 1>10 5>10",
    ),
    "statement before the first case": (
        """int f(int a) {
  switch (a) {
    a = 7;
  case 1:
    g(a);
  }
}""",
        "1>2 2>4 3>4 4>5",
        "a: 1>2 1>5 3>5",
    ),
    "Duff's device": (
        """int f(int n, char *a) {
  switch (n % 2) {
  case 0:
    do {
      *a = 0;
  case 1:
      a++;
    } while (--n > 0);
  }
  return n;
}""",
        "1>2 2>3 2>6 2>10 3>5 5>6 6>7 7>8 8>5 8>10",
        "n: 1>2 1>8 8>8 8>10 1>10; a: 1>5 1>7 5>7 7>5 7>7",
    ),
    "case in a loop in a switch": (
        """int f(int a, int b) {
  switch (a) {
  case 0:
    while (b) {
  case 1:
      b--;
      if (b == 4)
        break;
      continue;
    }
    a = 1;
  }
  return a;
}""",
        "1>2 2>3 2>5 2>13 3>4 4>5 4>11 5>6 6>7 7>8 7>9 8>11 9>4 11>13",
        "a: 1>2 1>13 11>13; b: 1>4 1>6 6>4 6>6 6>7",
    ),
    "break and continue of a switch in a loop": (
        """int f(int n) {
  while (n) {
    switch (n) {
    case 1:
      break;
    case 2:
      continue;
    default:
      n = 0;
    }
    n--;
  }
  return n;
}""",
        "1>2 2>3 3>4 3>6 3>8 4>5 5>11 6>7 7>2 8>9 9>11 11>2 2>13",
        "n: 1>2 1>3 1>11 1>13 9>11 11>2 11>3 11>11 11>13",
    ),
    "switch in a switch": (
        """int f(int a, int b) {
  switch (a) {
  case 1: {
    switch (b) {
    case 1:
      break;
    default:
      return 1;
    }
    break;
  }
  default:
    ;
  }
  return 0;
}""",
        "1>2 2>3 2>12 3>4 4>5 4>7 5>6 6>10 7>8 10>15 12>13 13>15",
        "a: 1>2; b: 1>4",
    ),
    "switch without braces does not parse, and is a plain statement": (
        """int f(int a, int b) {
  switch (a)
  case 1:
    b = 1;
  return b;
}""",
        "1>2 2>3 3>4 4>5",
        "a: 1>2; b: 4>5",
    ),
    "goto back and on": (
        """int f(int n) {
again:
  n--;
  if (n > 5)
    goto again;
  if (n < 0)
    goto out;
  n = 9;
out:
  return n;
}""",
        "1>2 2>3 3>4 4>5 4>6 5>2 6>7 6>8 7>9 8>9 9>10",
        "n: 1>3 3>3 3>4 3>6 3>10 8>10",
    ),
    "goto into a loop": (
        """int f(int n, int a) {
  goto in;
  while (n) {
    a = 1;
in:
    n = n - a;
  }
  return a;
}""",
        "1>2 2>5 3>4 3>8 4>5 5>6 6>3",
        "n: 1>6.2 6.1>3 6.1>6.2; a: 1>6 4>6 1>8 4>8",
    ),
    "unknown label, and one at the end": (
        """int f(int a) {
  if (a)
    goto nowhere;
  if (a > 1)
    goto end;
  a = 2;
end:;
}""",
        "1>2 2>3 2>4 4>5 4>6 5>7a 6>7a 7a>7b",
        "a: 1>2 1>4",
    ),
    "the same label in two functions": (
        """void f(void) {
  goto x;
x:
  g();
}
void h(void) {
x:
  goto x;
}""",
        "1>2 2>3 3>4 6>7 7>8 8>7",
        "",
    ),
    "after return": (
        """int f(int a) {
  return a;
  a = 1;
  g(a);
}""",
        "1>2 3>4",
        "a: 1>2 3>4",
    ),
    "after break": (
        """int f(int a) {
  while (a) {
    break;
    a = 2;
  }
  return a;
}""",
        "1>2 2>3 2>6 3>6 4>2",
        "a: 1>2 1>6 4>2 4>6",
    ),
    "break outside of any loop": (
        """int f(int a) {
  break;
  continue;
  return a;
}""",
        "1>2",
        "",
    ),
    "empty statements and blocks": (
        """int f(int a) {
  {
    {}
  }
  ;
  if (a) {
  } else {
  }
  while (a) {
  }
  return a;
}""",
        "1>5 5>6 6>9 9>9 9>11",
        "a: 1>6 1>9 1>11",
    ),
    "empty function": ("void f(int a) {\n}", "", ""),
    "comma and ?:": (
        """int f(int a, int b) {
  a = 1, b = a;
  a = b ? a : (b = 2);
  return a + b;
}""",
        "1>2 2>3 3>4",
        "a: 2.1>2.2 2.1>3.2 3.1>4; b: 2>3.1 3.2>4",
    ),
    "addresses given to calls": (
        """int f(int n) {
  int x;
  g(&x, x);
  g(h(&n), n);
  return x + n;
}""",
        "1>2 2>3 3>4 4>5",
        "x: 2>3.1 2>3.2 2>5 3.1>5; n: 1>4.1 1>4.2 4.1>4.2 1>5 4.1>5",
    ),
    "addresses of parts": (
        """int f(int i) {
  struct s v;
  int a[3];
  g(&a[i], &v.f, (void *)&i);
  return a[0] + v.f + i;
}""",
        "1>2 2>3 3>4 4>5",
        "a: 3>4 3>5 4>5; v: 2>4 2>5 4>5; i: 1>4.1 1>4.2 1>5 4.2>5",
    ),
    "elements, fields, what is pointed at": (
        """int f(char *p, struct s *q, int i) {
  char a[4];
  a[i] = *p;
  q->x.y = a[0];
  *p = a[i];
  *(p + 1) = 0;
  (*q).z[i++] = 1;
  p[0]++;
  return a[1] + *p + q->z[i];
}""",
        "1>2 2>3 3>4 4>5 5>6 6>7 7>8 8>9",
        "p: 1>3 1>5 1>6 1>8 1>9 5>6 5>8 5>9 6>8 6>9 8>9; q: 1>4 1>7 1>9 4>7 4>9 7>9; i: 1>3 1>5 1>7 7>9;"
        "a: 2>3 2>4 2>5 2>9 3>4 3>5 3>9",
    ),
    "an index is not written": (
        """int f(int *a, int i, int j) {
  a[i + j] = 1;
  *(a + i) = 2;
  i = 3;
  (i) = (int)j;
  return i;
}""",
        "1>2 2>3 3>4 4>5 5>6",
        "a: 1>2 1>3 2>3; i: 1>2 1>3 5>6; j: 1>2 1>5",
    ),
    "copying on": (
        """int f(char *p, int n) {
  while (n--)
    *p++ = n;
  return *p;
}""",
        "1>2 2>3 3>2 2>4",
        "p: 1>3 3>3 1>4 3>4; n: 1>2 2>2 2>3",
    ),
    "+= and ++": (
        """int f(int a) {
  int b;
  b += a;
  b = a++ + ++a;
  return a - b;
}""",
        "1>2 2>3 3>4 4>5",
        "a: 1>3 1>4.1 4.1>4.2 4.2>5; b: 2>3 4>5",
    ),
    "swap": (
        """int f(int a, int b) {
  int t = a;
  a = b;
  b = t;
  return a - b;
}""",
        "1>2 2>3 3>4 4>5",
        "a: 1>2 3>5; b: 1>3 4>5; t: 2>4",
    ),
    "uninitialised on one path": (
        """int f(int c) {
  int x, *p = &x;
  if (c)
    x = 1;
  return x + *p;
}""",
        "1>2 2>3 3>4 3>5 4>5",
        "x: 2.1>2.2 2.1>5 4>5; p: 2>5; c: 1>3",
    ),
    "declared in a loop": (
        """int f(int n) {
  while (n--) {
    int x;
    g(x);
    x = n;
  }
}""",
        "1>2 2>3 3>4 4>5 5>2",
        "n: 1>2 2>2 2>5; x: 3>4",
    ),
    "function pointers, casts, sizeof": (
        """int f(int (*cb)(int a), int a) {
  char *s = (char *)malloc(sizeof(a));
  (cb)(a);
  return cb(sizeof *s);
}""",
        "1>2 2>3 3>4",
        "a: 1.2>2 1.2>3; cb: 1>3 1>4; s: 2>4",
    ),
    "array parameters and sizes": (
        """int f(int n, int a[n]) {
  int b[n], c[2] = {n};
  n = 4;
  return a[0] + b[n] + c[1];
}""",
        "1>2 2>3 3>4",
        "n: 1.1>1.2 1.1>2.1 1.1>2.2 3>4; a: 1>4; b: 2>4; c: 2>4",
    ),
    "old-style parameters": (
        """int f(a, b)
int a; char *b;
{
  return a + *b;
}""",
        "1>4",
        "a: 2>4; b: 2>4",
    ),
    "two functions": (
        """int f(int a) {
  return a;
}
int g(int a) {
  a = f(a);
  return a;
}""",
        "1>2 4>5 5>6",
        "a: 1>2 4>5.2 5.1>6",
    ),
    "a global": (
        """int n = 3;
int f(void) {
  n = n + 1;
  return n;
}""",
        "2>3 3>4",
        "n: 3.1>4",
    ),
    "prototypes, structures and fields": (
        """int f(int a) {
  int g(int a);
  struct s { int a; } v = {a};
  return g(v.a);
}""",
        "1>2 2>3 3>4",
        "a: 1>3; v: 3>4",
    ),
    "types and enumerators": (
        """int f(int a) {
  typedef int t;
  enum { A, B } e = A;
  t x = (t)a;
  return x + e;
}""",
        "1>2 2>3 3>4 4>5",
        "a: 1>4; e: 3>5; x: 4>5",
    ),
    "#ifdef, #elif, #else": (
        """int f(int a) {
#ifdef X
  a = 1;
#elif defined(Y)
  a = 2;
#else
  a = 3;
#endif
  return a;
}""",
        "1>2 2>3 2>4 3>9 4>5 4>7 5>9 7>9",
        "a: 3>9 5>9 7>9",
    ),
    "nested #if without #else": (
        """int f(int a) {
#if A
#if B
  a = 1;
#endif
#endif
  return a;
}""",
        "1>2 2>3 2>7 3>4 3>7 4>7",
        "a: 1>7 4>7",
    ),
    "declared in both branches of an #if": (
        """int f(void) {
#if A
  int x = 1;
#else
  int x = 2;
#endif
  return x;
}""",
        "1>2 2>3 2>5 3>7 5>7",
        "x: 3>7 5>7",
    ),
    "#if around a whole function": (
        """#if A
int f(int a) {
  return a;
}
#endif""",
        "2>3",
        "a: 2>3",
    ),
    "statement expression": (
        """int f(int a) {
  int b =
    ({ int c = a;
       c + 1; });
  return b;
}""",
        "1>3 3>4 4>2 2>5",
        "a: 1>3; c: 3>4; b: 2>5",
    ),
    "two statement expressions": (
        """int f(int a) {
  g(
    ({ a++; }),
    ({ a--; }));
  return a;
}""",
        "1>3 3>4 4>2 2>5",
        "a: 1>3 3>4 4>5",
    ),
    "statement expression as a condition": (
        """int f(int a) {
  while (
    ({ a--;
       a; }))
    g();
  return a;
}""",
        "1>3 3>4 4>2 2>5 2>6 5>3",
        "a: 1>3 3>3 3>4 3>6",
    ),
    "asm": (
        """int f(int a) {
  int b;
  asm("mov" : "=r"(b) : "r"(a));
  return b;
}""",
        "1>2 2>3 3>4",
        "a: 1>3; b: 2>3 2>4 3>4",
    ),
    "no function around": (
        """static int foo(int a
{
  x = 1;
  if (a)
    return x;
  y = x;""",
        "3>4 4>5 4>6",
        "x: 3>5 3>6",
    ),
    "an error among statements": (
        """int f(int a) {
  a = 1;
  @ ;
  return a;
}""",
        "1>2 2>3a 3a>3b 3b>4",
        "a: 2>4",
    ),
}


# Comments change how directives and unfinished code are parsed.
COMMENTABLE = [name for name, (source, *_) in CASES.items() if "#if" not in source and source.endswith("}")]


@pytest.mark.parametrize("name", CASES)
def test_control_flow(name: str) -> None:
    source, expected, _ = CASES[name]
    assert flow_edges(source) == parse_flow(expected)


@pytest.mark.parametrize("name", CASES)
def test_data_flow(name: str) -> None:
    source, _, expected = CASES[name]
    assert data_edges(source) == parse_data(expected)


@pytest.mark.parametrize("name", COMMENTABLE)
def test_comments_change_no_flow(name: str) -> None:
    """With a comment before each ``;``, ``{`` and ``(``, and comments as nodes, the same edges come out."""
    source, expected, data = CASES[name]
    for sign in ";{(":
        source = source.replace(sign, f"/* {sign} */ {sign}")
    assert flow_edges(source, comments=True) == parse_flow(expected)
    assert data_edges(source, comments=True) == parse_data(data)
