"""Code that no one writes, by what there is too much of."""

from __future__ import annotations

from collections.abc import Callable

HOSTILE: dict[str, Callable[[int], str]] = {
    "parentheses": lambda n: "int f(){return " + "(" * n + "a" + ")" * n + ";}",
    "open parentheses": lambda n: "int f(){return " + "(" * n,
    "braces": lambda n: "void f()" + "{" * n + "}" * n,
    "closing brackets": lambda n: ")]}" * n,
    "#if without end": lambda n: "void f(){" + "#if A\nx=1;\n" * n,
    "nested if": lambda n: "void f(){" + "if(a)" * n + ";}",
    "else if": lambda n: "void f(){" + "if(a);else " * n + ";}",
    "nested switch": lambda n: "void f(){" + "switch(a){case 1:" * n + "}" * n + "}",
    "cases within if": lambda n: "void f(){switch(a){" + "if(b){case 1:break;" * n + "}" * n + "}}",
    "labels of labels": lambda n: "void f(){" + "".join(f"L{i}:" for i in range(n)) + ";}",
    "goto far out": lambda n: (
        "void f(){" + "".join(f"if(a){{goto L{i};" for i in range(n)) + "".join(f"L{i}:;}}" for i in range(n)) + "}"
    ),
    "break far out": lambda n: "void f(){while(1){" + "if(a){break;" * n + "}" * n + "}}",
    "continue far out": lambda n: "void f(){while(1){" + "if(a){continue;" * n + "}" * n + "}}",
    "assignments": lambda n: "void f(){" + "a=" * n + "1;}",
    "scopes": lambda n: "void f(int x){" + "{int x=x+1;" * n + "}" * n + "}",
    "variables of scopes": lambda n: "void f(int x){" + "".join(f"{{int v{i}=x;" for i in range(n)) + "}" * n + "}",
    "calls": lambda n: "int f(){return " + "f(" * n + ")" * n + ";}",
    "namespaces": lambda n: "namespace a{" * n + "}" * n,
    "templates": lambda n: "A<" * n + ">" * n + " a;",
    "try": lambda n: "void f(){" + "try{" * n + "}catch(...){}" * n + "}",
    "lambdas": lambda n: "void f(){" + "auto a=[&]{if(b)return;" * n + "};" * n + "}",
}
