"""Harmless statements, in the notation of :mod:`.template`.

They use the same signs, calls and tests that decide elsewhere, in places where they decide nothing: loops that rightly
end at ``<=``, copies of fixed size, checks of pointers, formats that are literals, memory that is freed once.
"""

from __future__ import annotations

QUIET: tuple[str, ...] = (
    " <ctx>-><STAT>++;",
    " <ctx>-><STAT> += <NUM>;",
    " <ctx>->flags |= <FLAG>;",
    " <ctx>->flags &= ~<FLAG>;",
    ' <LOG>("<PHRASE>\\n");',
    ' <LOG>("%s: <PHRASE>\\n", __func__);',
    ' <LOG>("%s %d\\n", <LIT>, <ctx>->state);',
    """
 if (<ctx>->state {{>::>=::==::<=::<}} <NUM>)
     <ctx>-><STAT> = {{0::<NUM>}};
""",
    """
 if (<ctx>->flags & <FLAG>)
     <ctx>->state = <NUM>;
 else
     <ctx>->state = 0;
""",
    """
 if (notnull(<ctx>->head))
     <ctx>->head->refs++;
""",
    """
 if (<ctx>->head != NULL {{&&::&&::&&}} <ctx>->head->len > <NUM>)
     <ctx>-><STAT>++;
""",
    " <ctx>->updated_at = time(NULL);",
)
"""Statements that neither leave the function nor touch anything but the counters and flags of the context."""

FILLERS: tuple[str, ...] = (
    *QUIET,
    """
 @int <i>;
 for (<i> = 0; <i> < TABLE_MAX; <i>++)
     <ctx>-><ITEMS>[<i>] = {{0::<NUM>::<i>}};
""",
    """
 @int <i>;
 for (<i> = 1; <i> <= TABLE_MAX; <i>++)
     <ctx>-><ITEMS>[<i> - 1] {{+=::=}} <NUM>;
""",
    """
 @int <i>;
 for (<i> = 0; <i> <= TABLE_MAX - 1; <i>++)
     <ctx>-><STAT> += <ctx>-><ITEMS>[<i>];
""",
    """
 @int <tab>[<CAP>];
 @int <i>;
 for (<i> = 1; <i> <= <CAP>; <i>++)
     <tab>[<i> - 1] = {{0::-1::<i>}};
 <SINK>(<ctx>, <tab>, sizeof(<tab>));
""",
    """
 @char <buf>[<CAP>];
 snprintf(<buf>, sizeof(<buf>), "%s:%d", <LIT>, <ctx>->state);
 <NOTE>(<ctx>, <buf>);
""",
    """
 @char <buf>[<CAP>];
 strcpy(<buf>, <LIT>);
 <NOTE>(<ctx>, <buf>);
""",
    """
 @char <buf>[<CAP>];
 memset(<buf>, 0, sizeof(<buf>));
 strncpy(<buf>, <LIT>, sizeof(<buf>) - 1);
 <NOTE>(<ctx>, <buf>);
""",
    """
 @struct <NODE> <st>;
 memset(&<st>, 0, sizeof(<st>));
 <st>.{{key::refs}} = <NUM>;
 <SINK>(<ctx>, &<st>, sizeof(<st>));
""",
    """
 @struct <NODE> <st> = { 0 };
 @struct <NODE> <st2>;
 memcpy(&<st2>, &<st>, sizeof(<st>));
 <st2>.key = <NUM>;
 <SINK>(<ctx>, &<st2>, sizeof(<st2>));
""",
    """
 @struct <NODE> *<node>;
 for (<node> = <ctx>->head; notnull(<node>); <node> = <node>->next)
     <ctx>-><STAT> += <node>->{{len::key::refs}};
""",
    """
 @const struct <NODE> *<node>;
 <node> = <FIND>(<ctx>, <NUM>);
 if (notnull(<node>))
     <LOG>("%d\\n", <node>->key);
""",
    """
 @char *<ptr>;
 <ptr> = strdup(<LIT>);
 fail_if isnull(<ptr>)
 <NOTE>(<ctx>, <ptr>);
 free(<ptr>);
""",
    """
 @uint8_t *<ptr>;
 <ptr> = calloc(<NUM>, <CAP>);
 if (isnull(<ptr>))
     return_nothing(<ctx>);
 free(<ptr>);
 <ptr> = NULL;
""",
    """
 free(<ctx>-><held>);
 <ctx>-><held> = NULL;
""",
    """
 @unsigned int <avg>;
 <avg> = <ctx>-><STAT> / <NUM>;
 if (<avg> >= <NUM2>)
     <ctx>->state = <avg>;
""",
    """
 fail_if <ctx>->state {{<::>::==::>=}} <NUM>
""",
    """
 fail_if !(<ctx>->flags & <FLAG>)
""",
    """
 fail_if <WORK>(<ctx>, <ctx>->head) < 0
""",
    """
 @int <ret>;
 <ret> = <WORK>(<ctx>, NULL);
 if (<ret> < 0 || <ret> > <NUM>)
     <ctx>-><STAT>++;
""",
    """
 pthread_mutex_lock(&<ctx>-><LOCK>);
 <ctx>-><STAT>++;
 pthread_mutex_unlock(&<ctx>-><LOCK>);
""",
    """
 @int <sum> = 0;
 in int <val>
 while (<val> > 0) {
     <sum> += <val> {{& 1::% <NUM>}};
     <val> {{>>= 1::/= 2::-= <NUM>}};
 }
 <ctx>-><STAT> += <sum>;
""",
    """
 @size_t <n>;
 in const char *<str>
 <n> = strlen(<str>);
 if (<n> > 0 && <n> < <CAP>)
     <NOTE>(<ctx>, <str>);
""",
    """
 in const char *<str>
 if (strcmp(<str>, <LIT>) == 0)
     <ctx>->state = <NUM>;
 else if (strncmp(<str>, <LIT2>, <NUM>) == 0)
     <LOG>("%s\\n", <str>);
""",
    """
 in int <val>
 switch (<val>) {
 case 0:
     <ctx>-><STAT>++;
     break;
 case <NUM>:
     <ctx>->flags |= <FLAG>;
     break;
 default:
     <ctx>->state = <NUM2>;
     break;
 }
""",
    """
 @size_t <i>;
 @unsigned int <sum> = 0;
 in const uint8_t *<src>
 in size_t <n>
 for (<i> = 0; <i> < <n>; <i>++)
     <sum> = {{(<sum> << 1) ^ <src>[<i>]::<sum> * 31 + <src>[<i>]::<sum> + <src>[<i>]}};
 <ctx>->checksum = <sum>;
""",
    """
 in int <val>
 <ctx>->state = {{MIN(<val>, <NUM>)::MAX(<val>, 0)::<val> > 0 ? <val> : 0::<val> == 0 ? <NUM> : <val>}};
""",
)
"""Pieces that may stand between the others; some leave the function, none holds anything when it does."""
