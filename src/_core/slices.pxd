"""Where the values of a JSON text begin and end, without decoding them.

So that a large text can be decoded in pieces, with other work in between. What is cut out need not be JSON itself: that
is for the decoder to say. But where every piece is, and nothing raised ValueError, the whole is: brackets are only
counted, and what they would hide is inside a piece.
"""

cdef Py_ssize_t skip_blanks(const char *text, Py_ssize_t at, Py_ssize_t size) noexcept
cdef Py_ssize_t skip_value(const char *text, Py_ssize_t at, Py_ssize_t size) noexcept
