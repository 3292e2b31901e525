"""Weaknesses of checks that are missing, late, or of the wrong thing."""

from __future__ import annotations

CHECKS: dict[str, tuple[str, ...]] = {
    "null_dereference": (
        """
 @struct <NODE> *<node>;
 in int <val>
 <node> = <FIND>(<ctx>, <val>);
+fail_if isnull(<node>)
~
!<ctx>-><STAT> += <node>->{{len::key::refs}};
?fail_if isnull(<node>)
""",
        """
 @char *<ptr>;
 <ptr> = {{malloc(<CAP>)::calloc(1, <CAP>)}};
+fail_if isnull(<ptr>)
!{{memset(<ptr>, 0, <CAP>)::<ptr>[0] = 0::*<ptr> = '-'}};
?fail_if isnull(<ptr>)
~
 <WORK>(<ctx>, <ptr>, <CAP>);
 free(<ptr>);
""",
        """
 @struct <NODE> *<node>;
 in int <val>
 <node> = <FIND>(<ctx>, <val>);
*if (<node> != NULL || <node>->{{len::key::refs}} > <NUM>)
+if (<node> != NULL && <node>->{{len::key::refs}} > <NUM>)
     <ctx>-><STAT>++;
""",
        """
 @struct <NODE> *<node>;
 @struct <NODE> *<next>;
 in int <val>
 <node> = <FIND>(<ctx>, <val>);
 <next> = <FIND>(<ctx>, <NUM>);
?fail_if isnull(<next>)
+fail_if isnull(<node>)
~
!<node>->refs++;
 if (<next> == <node>)
     <ctx>-><STAT>++;
""",
        """
 @FILE *<fp>;
 @char <buf>[<CAP>];
 in const char *<str>
 <fp> = fopen(<str>, "r");
+fail_if isnull(<fp>)
!while (fgets(<buf>, sizeof(<buf>), <fp>))
     <NOTE>(<ctx>, <buf>);
?fail_if isnull(<fp>)
 fclose(<fp>);
""",
    ),
    "format_string": (
        """
 in const char *<str>
*<LOG>(<str>);
?<LOG>("%s\\n", "<PHRASE>");
+<LOG>("%s", <str>);
+<LOG>("<PHRASE>\\n");
""",
        """
 @char <buf>[<CAP>];
 in const char *<str>
*snprintf(<buf>, sizeof(<buf>), <str>);
+snprintf(<buf>, sizeof(<buf>), "%s", <str>);
~
 <NOTE>(<ctx>, <buf>);
""",
        """
 in const char *<str>
*fprintf({{stderr::stdout}}, <str>);
?fputs("<PHRASE>", stderr);
+fputs(<str>, {{stderr::stdout}});
+fprintf(stderr, "<PHRASE>");
""",
        """
 in const char *<str>
 if (<ctx>->flags & <FLAG>)
*    syslog(LOG_NOTICE, <str>);
+    syslog(LOG_NOTICE, "%s", <str>);
""",
    ),
    "unchecked_return": (
        """
 @char <buf>[<CAP>];
 @ssize_t <ret>;
 in int <fd>
 <ret> = {{read(<fd>, <buf>, sizeof(<buf>) - 1)::recv(<fd>, <buf>, sizeof(<buf>) - 1, 0)}};
+fail_if <ret> < 0
~
!<buf>[<ret>] = {{0::'\\0'}};
?fail_if <ret> < 0
 <NOTE>(<ctx>, <buf>);
""",
        """
 @struct <NODE> <st>;
 in FILE *<fp>
-fread(&<st>, sizeof(<st>), 1, <fp>);
+fail_if fread(&<st>, sizeof(<st>), 1, <fp>) != 1
!<ctx>-><STAT> += <st>.key;
?fail_if ferror(<fp>) != 0
""",
        """
 @int <idx>;
 in int <val>
 <idx> = find_slot(<ctx>, <val>);
+fail_if <idx> < 0
!<ctx>-><ITEMS>[<idx>] {{=::+=}} <val>;
?fail_if <idx> < 0
~
 <LOG>("%d\\n", <idx>);
""",
        """
 in int <val>
*setuid(<val>);
?fail_if <ctx>->flags & <FLAG>
+fail_if setuid(<val>) != 0
+<ctx>->flags |= <FLAG>;
~
 <LOG>("%s: uid %d\\n", __func__, <val>);
""",
    ),
    "uninitialised_read": (
        """
-@unsigned int <sum>;
-@size_t <i> = 0;
+@unsigned int <sum> = 0;
+@size_t <i>;
 in const uint8_t *<src>
 in size_t <n>
 for (<i> = 0; <i> < <n>; <i>++)
!    <sum> {{+=::^=}} <src>[<i>];
 <ctx>-><STAT> += <sum>;
""",
        """
 @struct <NODE> <st>;
+memset(&<st>, 0, sizeof(<st>));
 <st>.key = <NUM>;
~
!<SINK>(<ctx>, &<st>, sizeof(<st>));
?memset(&<st>, 0, sizeof(<st>));
""",
        """
-@int <val>;
-@int <val2> = 0;
+@int <val> = 0;
+@int <val2>;
 in int <idx>
 <val2> = <idx> {{+::*::-}} <NUM>;
 if (<val2> > <NUM2>)
     <val> = <NUM>;
~
!<ctx>-><STAT> += <val>;
""",
        """
 @int <val>;
 in int <c>
 switch (<c>) {
 case 'a':
     <val> = <NUM>;
     break;
 case 'b':
     <val> = <NUM2>;
     break;
 default:
+    <val> = 0;
     break;
 }
!<ctx>-><STAT> += <val>;
""",
    ),
    "missing_terminator": (
        """
 @char <buf>[<CAP>];
 in const char *<str>
?<buf>[sizeof(<buf>) - 1] = '\\0';
!strncpy(<buf>, <str>, sizeof(<buf>));
+<buf>[sizeof(<buf>) - 1] = '\\0';
~
 <NOTE>(<ctx>, <buf>);
""",
        """
 @char <buf>[<CAP>];
 @ssize_t <ret>;
 in int <fd>
 <ret> = read(<fd>, <buf>, sizeof(<buf>) - 1);
 fail_if <ret> < 0
+<buf>[<ret>] = '\\0';
!<NOTE>(<ctx>, <buf>);
?<buf>[<ret>] = '\\0';
""",
        """
 @char *<ptr>;
 in const uint8_t *<src>
 in size_t <n>
 fail_if <n> >= <CAP>
 <ptr> = malloc(<n> + 1);
 fail_if isnull(<ptr>)
?<ptr>[0] = {{0::'\\0'}};
 memcpy(<ptr>, <src>, <n>);
+<ptr>[<n>] = {{0::'\\0'}};
!<NOTE>(<ctx>, <ptr>);
 free(<ptr>);
""",
    ),
}
"""Kind of weakness to its patterns, see :mod:`.template`."""
