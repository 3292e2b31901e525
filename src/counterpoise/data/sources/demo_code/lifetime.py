"""Weaknesses of memory and other resources over their lifetime."""

from __future__ import annotations

LIFETIME: dict[str, tuple[str, ...]] = {
    "use_after_free": (
        """
 @struct <NODE> *<node>;
 <node> = <TAKE>(<ctx>);
 fail_if isnull(<node>)
-free(<node>);
~
!<ctx>-><STAT> += <node>->{{len::key::refs}};
+free(<node>);
""",
        """
 @struct <NODE> *<node>;
 <node> = <TAKE>(<ctx>);
 if (notnull(<node>)) {
-    free(<node>);
!    <LOG>("{{dropped::released::expired}} %d\\n", <node>->key);
+    free(<node>);
 }
""",
        """
 @struct <NODE> *<node>;
 @struct <NODE> *<next>;
 <next> = NULL;
*for (<node> = <ctx>->head; <node> != NULL; <node> = <node>->next) {
-    <next> = <node>;
+for (<node> = <ctx>->head; <node> != NULL; <node> = <next>) {
+    <next> = <node>->next;
     free(<node>);
 }
 <ctx>->head = NULL;
""",
        """
 @char *<ptr>;
 @char *<ptr2>;
 in const char *<str>
 <ptr> = strdup(<str>);
 fail_if isnull(<ptr>)
 <ptr2> = strdup({{__func__::<LIT>}});
-free(<ptr>);
+free(<ptr2>);
~
!<NOTE>(<ctx>, <ptr>);
+free(<ptr>);
-free(<ptr2>);
""",
    ),
    "double_free": (
        """
 @uint8_t *<ptr>;
 @uint8_t *<ptr2>;
 in size_t <n>
 <ptr> = calloc(1, <n>);
 <ptr2> = calloc(<NUM>, <n>);
 if (notnull(<ptr>) && notnull(<ptr2>))
     <WORK>(<ctx>, <ptr>, <ptr2>);
 free(<ptr>);
*free(<ptr>);
+free(<ptr2>);
""",
        """
 @char *<ptr>;
 in size_t <n>
 <ptr> = malloc(<n>);
 fail_if isnull(<ptr>)
 if (<WORK>(<ctx>, <ptr>) < 0) {
     <LOG>("<PHRASE>\\n");
     free(<ptr>);
+    <ptr> = NULL;
 }
~
!free(<ptr>);
-<ptr> = NULL;
""",
        """
 free(<ctx>-><held>);
?<ctx>-><held2> = NULL;
+<ctx>-><held> = NULL;
 if (<ctx>->flags & <FLAG>) {
!    free(<ctx>-><held>);
     <ctx>-><held> = NULL;
 }
""",
        """
 @struct <NODE> *<node>;
 <node> = <TAKE>(<ctx>);
 fail_if isnull(<node>)
*if (<node>->refs == 0)
*    free(<node>);
+if (<node>->refs == 0)
+    <ctx>-><STAT>++;
 <LOG>("<PHRASE>\\n");
 free(<node>);
""",
    ),
    "leak_on_error": (
        """
 @uint8_t *<ptr>;
 @int <ret>;
 in size_t <n>
 <ptr> = malloc(<n>);
 fail_if isnull(<ptr>)
 <ret> = <WORK>(<ctx>, <ptr>, <n>);
+free(<ptr>);
!fail_if {{<ret> < 0::<ret> != 0}}
?free(<ptr>);
~
 <ctx>-><STAT>++;
""",
        """
 @char *<ptr>;
 @char *<ptr2>;
 in const char *<str>
 <ptr> = strdup(<str>);
 fail_if isnull(<ptr>)
 <ptr2> = malloc(<CAP>);
 if (isnull(<ptr2>)) {
?    free(<ptr2>);
+    free(<ptr>);
!    fail
 }
~
 <WORK>(<ctx>, <ptr>, <ptr2>);
 free(<ptr2>);
 free(<ptr>);
""",
        """
 @int <fd>;
 @char <buf>[<CAP>];
 @ssize_t <ret>;
 in const char *<str>
 <fd> = open(<str>, O_RDONLY);
 fail_if <fd> < 0
 <ret> = read(<fd>, <buf>, sizeof(<buf>));
+close(<fd>);
!fail_if <ret> <= 0
?close(<fd>);
 <SINK>(<ctx>, <buf>, <ret>);
""",
        """
 @FILE *<fp>;
 @int <c>;
 in const char *<str>
 <fp> = fopen(<str>, "{{r::rb}}");
 fail_if isnull(<fp>)
 <c> = fgetc(<fp>);
 if (<c> == EOF) {
     <LOG>("<PHRASE>\\n");
+    fclose(<fp>);
!    fail
 }
 <ctx>-><STAT> += <c>;
 fclose(<fp>);
""",
    ),
    "lost_realloc": (
        """
 @uint8_t *<ptr>;
 in size_t <n>
*<ctx>-><held> = realloc(<ctx>-><held>, <n>);
+<ptr> = realloc(<ctx>-><held>, <n>);
-<ptr> = <ctx>-><held>;
 fail_if isnull(<ptr>)
+<ctx>-><held> = <ptr>;
~
 memset(<ptr>, 0, <n>);
""",
        """
 @char *<ptr>;
 @char *<ptr2>;
 <ptr> = malloc(<CAP>);
 fail_if isnull(<ptr>)
*<ptr> = realloc(<ptr>, 2 * <CAP>);
+<ptr2> = realloc(<ptr>, 2 * <CAP>);
-<ptr2> = <ptr>;
 if (isnull(<ptr2>)) {
-    free(<ptr2>);
+    free(<ptr>);
     fail
 }
 <WORK>(<ctx>, <ptr2>, <CAP>);
 free(<ptr2>);
""",
    ),
    "stack_escape": (
        """
 @char <buf>[<CAP>];
 in int <val>
 snprintf(<buf>, sizeof(<buf>), "{{%d::#%d::id-%d}}", <val>);
~
 free(<ctx>-><owned>);
*<ctx>-><owned> = <buf>;
+<ctx>-><owned> = strdup(<buf>);
""",
        """
-@static int <cnt>;
-@char <buf>[<CAP>];
+@int <cnt>;
+@static char <buf>[<CAP>];
 in const char *<str>
 <cnt> = snprintf(<buf>, sizeof(<buf>), "%s", <str>);
 if (<cnt> > 0)
!    <ctx>-><view> = <buf>;
""",
        """
 @struct <NODE> <st>;
 @struct <NODE> *<node>;
 memset(&<st>, 0, sizeof(<st>));
 <st>.key = <NUM>;
 <node> = malloc(sizeof(*<node>));
 fail_if isnull(<node>)
 *<node> = <st>;
~
-free(<node>);
*<ctx>->current = &<st>;
+<ctx>->current = <node>;
""",
    ),
    "missing_unlock": (
        """
 @int <ret>;
 pthread_mutex_lock(&<ctx>-><LOCK>);
 <ret> = <WORK>(<ctx>, <ctx>->head);
+pthread_mutex_unlock(&<ctx>-><LOCK>);
!fail_if {{<ret> < 0::<ret> != 0}}
?pthread_mutex_unlock(&<ctx>-><LOCK>);
~
 <ctx>-><STAT>++;
""",
        """
 pthread_mutex_lock(&<ctx>-><LOCK>);
 if (isnull(<ctx>->head)) {
?    pthread_mutex_lock(&<ctx>-><LOCK>);
+    pthread_mutex_unlock(&<ctx>-><LOCK>);
!    fail
 }
 <ctx>->head->refs++;
~
 pthread_mutex_unlock(&<ctx>-><LOCK>);
""",
        """
 pthread_mutex_lock(&<ctx>-><LOCK>);
~
 if (<ctx>->flags & <FLAG>) {
+    pthread_mutex_unlock(&<ctx>-><LOCK>);
!    fail
?    pthread_mutex_unlock(&<ctx>-><LOCK>);
 }
 <ctx>-><STAT> += <NUM>;
 pthread_mutex_unlock(&<ctx>-><LOCK>);
""",
    ),
}
"""Kind of weakness to its patterns, see :mod:`.template`."""
