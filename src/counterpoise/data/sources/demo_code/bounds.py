"""Weaknesses of sizes, indices and arithmetic."""

from __future__ import annotations

BOUNDS: dict[str, tuple[str, ...]] = {
    "unchecked_copy": (
        """
 @uint8_t <buf>[<CAP>];
 in const uint8_t *<src>
 in size_t <n>
+fail_if {{<n> > sizeof(<buf>)::sizeof(<buf>) < <n>::<n> > <CAP>}}
~
!memcpy(<buf>, <src>, <n>);
?fail_if {{<n> > sizeof(<buf>)::sizeof(<buf>) < <n>::<n> > <CAP>}}
~
 <SINK>(<ctx>, <buf>, <n>);
""",
        """
 @char <buf>[<CAP>];
 in const uint8_t *<src>
 in size_t <n>
+if (<n> > {{<CAP>::sizeof(<buf>)}})
+    <n> = {{<CAP>::sizeof(<buf>)}};
!{{memcpy::memmove}}(<buf>, <src>, <n>);
?if (<n> > {{<CAP>::sizeof(<buf>)}})
?    <n> = {{<CAP>::sizeof(<buf>)}};
 <SINK>(<ctx>, <buf>, <n>);
""",
        """
 @char <buf>[<CAP>];
 in const char *<str>
+fail_if strlen(<str>) >= sizeof(<buf>)
~
!strcpy(<buf>, <str>);
?fail_if strlen(<str>) >= sizeof(<buf>)
 <NOTE>(<ctx>, <buf>);
""",
        """
 @uint8_t <buf>[<CAP>];
 in const uint8_t *<src>
 in size_t <n>
 in size_t <n2>
?fail_if <n2> > sizeof(<buf>)
+fail_if <n> > sizeof(<buf>)
~
!memcpy(<buf>, <src>, <n>);
 <SINK>(<ctx>, <buf>, <n>);
 <ctx>-><STAT> += <n2>;
""",
    ),
    "off_by_one": (
        """
 @int <tab>[<CAP>];
 @int <i>;
*for (<i> = 0; <i> <= <CAP>; <i>++)
+for (<i> = 0; <i> < <CAP>; <i>++)
!    <tab>[<i>] = {{0::-1::<i>::<NUM> * <i>}};
~
 <SINK>(<ctx>, <tab>, sizeof(<tab>));
""",
        """
 @int <tab>[<CAP>];
 in unsigned int <idx>
 memset(<tab>, 0, sizeof(<tab>));
*fail_if <idx> > <CAP>
+fail_if <idx> >= <CAP>
~
 <tab>[<idx>]{{++:: = <NUM>:: += <NUM>}};
 <SINK>(<ctx>, <tab>, sizeof(<tab>));
""",
        """
 @char *<ptr>;
 in const char *<str>
*<ptr> = malloc(strlen(<str>));
+<ptr> = malloc(strlen(<str>) + 1);
 fail_if isnull(<ptr>)
~
 strcpy(<ptr>, <str>);
 <NOTE>(<ctx>, <ptr>);
 free(<ptr>);
""",
        """
 @char <buf>[<CAP>];
 @ssize_t <ret>;
 in int <fd>
*<ret> = read(<fd>, <buf>, sizeof(<buf>));
+<ret> = read(<fd>, <buf>, sizeof(<buf>) - 1);
 fail_if <ret> < 0
 <buf>[<ret>] = {{0::'\\0'}};
 <NOTE>(<ctx>, <buf>);
""",
    ),
    "index_out_of_bounds": (
        """
 @int <tab>[<CAP>] = { 0 };
 in unsigned int <idx>
+fail_if <idx> >= <CAP>
~
!<tab>[<idx>]{{++:: = <NUM>:: += <NUM>}};
?fail_if <idx> >= <CAP>
~
 <SINK>(<ctx>, <tab>, sizeof(<tab>));
""",
        """
 @int <tab>[<CAP>] = { 0 };
 in int <idx>
*fail_if <idx> < 0 && <idx> >= <CAP>
+fail_if <idx> < 0 || <idx> >= <CAP>
~
 <tab>[<idx>] {{=::+=}} <NUM>;
 <SINK>(<ctx>, <tab>, sizeof(<tab>));
""",
        """
 @int <val>;
 in unsigned int <idx>
 in unsigned int <idx2>
?fail_if <idx2> >= {{ARRAY_SIZE(<ctx>-><ITEMS>)::TABLE_MAX}}
+fail_if <idx> >= {{ARRAY_SIZE(<ctx>-><ITEMS>)::TABLE_MAX}}
~
!<val> = <ctx>-><ITEMS>[<idx>];
 if (<val> > (int)<idx2>)
     <ctx>-><STAT>++;
""",
    ),
    "integer_overflow": (
        """
 @uint32_t *<ptr>;
 in size_t <n>
+fail_if <n> > SIZE_MAX / sizeof(*<ptr>)
!<ptr> = malloc({{<n> * sizeof(*<ptr>)::sizeof(*<ptr>) * <n>}});
?fail_if <n> > SIZE_MAX / sizeof(*<ptr>)
 fail_if isnull(<ptr>)
~
 <WORK>(<ctx>, <ptr>, <n>);
 free(<ptr>);
""",
        """
 @uint8_t *<ptr>;
 in size_t <n>
+fail_if <n> > SIZE_MAX - <HDR>
!<ptr> = malloc({{<n> + <HDR>::<HDR> + <n>}});
?fail_if <n> > SIZE_MAX - <HDR>
 fail_if isnull(<ptr>)
 memset(<ptr>, 0, <HDR>);
 <WORK>(<ctx>, <ptr>, <n>);
 free(<ptr>);
""",
        """
 @uint32_t *<ptr>;
 in unsigned int <cnt>
*<ptr> = malloc(<cnt> * (unsigned int)sizeof(uint32_t));
+<ptr> = malloc((size_t)<cnt> * sizeof(uint32_t));
 fail_if isnull(<ptr>)
 <WORK>(<ctx>, <ptr>, <cnt>);
 free(<ptr>);
""",
        """
 @struct <NODE> *<ptr>;
 in size_t <n>
 in size_t <n2>
?fail_if <n2> > SIZE_MAX / sizeof(*<ptr>)
+fail_if <n> > SIZE_MAX / sizeof(*<ptr>)
~
!<ptr> = malloc(<n> * sizeof(*<ptr>));
 fail_if isnull(<ptr>)
 <ctx>-><STAT> += <n2>;
 <WORK>(<ctx>, <ptr>, <n>);
 free(<ptr>);
""",
    ),
    "length_underflow": (
        """
 in const uint8_t *<src>
 in size_t <n>
+fail_if <n> < <HDR>
~
!<SINK>(<ctx>, <src> + <HDR>, <n> - <HDR>);
?fail_if <n> < <HDR>
 <ctx>-><STAT> += <HDR>;
""",
        """
 in const uint8_t *<src>
 in size_t <n>
*if (<n> - <HDR> > 0)
+if (<n> > <HDR>)
     <SINK>(<ctx>, <src> + <HDR>, <n> - <HDR>);
""",
        """
 @size_t <n2>;
 in const uint8_t *<src>
 in size_t <n>
*fail_if <n> == <HDR>
+fail_if <n> < <HDR>
 <n2> = <n> - <HDR>;
~
 <SINK>(<ctx>, <src> + <HDR>, <n2>);
""",
    ),
    "sign_confusion": (
        """
 @char <buf>[<CAP>];
 in const uint8_t *<src>
 in int|size_t <n>
!fail_if <n> > <CAP>
~
 memcpy(<buf>, <src>, <n>);
 <SINK>(<ctx>, <buf>, <n>);
""",
        """
 @int <tab>[<CAP>] = { 0 };
 in unsigned int <idx>
*fail_if (int)<idx> >= <CAP>
+fail_if (size_t)<idx> >= <CAP>
~
 <tab>[<idx>] {{=::+=}} <NUM>;
 <SINK>(<ctx>, <tab>, sizeof(<tab>));
""",
        """
 @int <val>;
 in int <idx>
*fail_if <idx> > 0 && <idx> >= TABLE_MAX
+fail_if <idx> < 0 || <idx> >= TABLE_MAX
 <val> = <ctx>-><ITEMS>[<idx>];
 <ctx>-><STAT> += <val>;
""",
        """
-@int <val> = 0;
-@unsigned int <i>;
+@unsigned int <val> = 0;
+@int <i>;
 in const uint8_t *<src>
 in int <cnt>
!for (<i> = <cnt> - 1; <i> >= 0; <i>--)
     <val> += <src>[<i>];
 <ctx>-><STAT> += <val>;
""",
    ),
    "pointer_size": (
        """
 @struct <NODE> *<node>;
*<node> = malloc(sizeof(<node>));
+<node> = malloc(sizeof(*<node>));
 fail_if isnull(<node>)
 memset(<node>, 0, sizeof(*<node>));
~
 <node>->key = <NUM>;
 <SINK>(<ctx>, <node>, sizeof(*<node>));
 free(<node>);
""",
        """
 @struct <NODE> *<node>;
 <node> = malloc(sizeof(*<node>));
 fail_if isnull(<node>)
*memset(<node>, 0, sizeof(<node>));
+memset(<node>, 0, sizeof(*<node>));
~
 <node>->refs++;
 <ctx>-><STAT> += <node>->refs;
 free(<node>);
""",
        """
 @struct <NODE> *<node>;
 in const struct <NODE> *<next>
 <node> = malloc(sizeof(struct <NODE>));
 fail_if isnull(<node>)
*memcpy(<node>, <next>, sizeof(<next>));
+memcpy(<node>, <next>, sizeof(*<next>));
 <SINK>(<ctx>, <node>, <node>->len);
 free(<node>);
""",
    ),
    "divide_by_zero": (
        """
 @unsigned int <avg>;
 in unsigned int <cnt>
+fail_if <cnt> == 0
~
!<avg> = <ctx>-><STAT> / <cnt>;
?fail_if <cnt> == 0
 <ctx>-><STAT2> += <avg>;
""",
        """
 @int <avg> = 0;
 in unsigned int <cnt>
 in unsigned int <cnt2>
*if (<cnt2> > 0)
+if (<cnt> > 0)
     <avg> = <cnt2> / <cnt>;
 <LOG>("%d\\n", <avg>);
""",
        """
 @int <avg> = 0;
 in unsigned int <cnt>
*if (<cnt> >= 0)
+if (<cnt> > 0)
     <avg> = {{<ctx>-><STAT> % <cnt>::<ctx>-><STAT> / <cnt>::<NUM> * <ctx>-><STAT> / <cnt>}};
~
 <LOG>("%s: %d\\n", __func__, <avg>);
""",
    ),
}
"""Kind of weakness to its patterns, see :mod:`.template`."""
