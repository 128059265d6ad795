"""Values of a JSON text; slices.pxd has the overview."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE


cdef inline bint is_blank(char byte) noexcept:
    return byte == c" " or byte == c"\n" or byte == c"\t" or byte == c"\r"


cdef Py_ssize_t skip_blanks(const char *text, Py_ssize_t at, Py_ssize_t size) noexcept:
    """Return where the next byte is that is no blank; `size`: nowhere."""
    while at < size and is_blank(text[at]):
        at += 1
    return at


cdef Py_ssize_t skip_string(const char *text, Py_ssize_t at, Py_ssize_t size) noexcept:
    """Return the place behind the string that begins here; `size` + 1: it has no end."""
    at += 1
    while at < size and text[at] != c'"':
        at += 2 if text[at] == c"\\" else 1
    return at + 1 if at < size else size + 1


cdef Py_ssize_t skip_value(const char *text, Py_ssize_t at, Py_ssize_t size) noexcept:
    """Return the place behind the value that begins here; `at`: there is none; `size` + 1: it has no end."""
    cdef Py_ssize_t depth = 0
    cdef char byte
    if at >= size:
        return at
    if text[at] == c'"':
        return skip_string(text, at, size)
    if text[at] != c"{" and text[at] != c"[":
        while at < size and not is_blank(text[at]) and text[at] not in (c",", c"]", c"}", c":", c'"', c"[", c"{"):
            at += 1
        return at
    while at < size:
        byte = text[at]
        if byte == c'"':
            at = skip_string(text, at, size)
            continue
        at += 1
        if byte == c"{" or byte == c"[":
            depth += 1
        elif byte == c"}" or byte == c"]":
            depth -= 1
            if depth == 0:
                return at
    return size + 1


def members(bytes text not None, Py_ssize_t most):
    """Return (key, begin, end) of each member of an object, in order; the keys as they stand there, with quotes.

    Returns:
        None: the text is no object, or has more members.

    Raises:
        ValueError: it is not JSON.
    """
    cdef const char *data = PyBytes_AS_STRING(text)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(text), at = skip_blanks(data, 0, size), begin, end
    cdef list found = []
    cdef bytes key
    if at == size or data[at] != c"{":
        return None
    at = skip_blanks(data, at + 1, size)
    if at < size and data[at] == c"}":
        at += 1
    else:
        while True:
            if len(found) == most:
                return None
            if at >= size or data[at] != c'"':
                raise ValueError("a member without a key")
            end = skip_string(data, at, size)
            if end > size:
                raise ValueError("a key without an end")
            key = text[at:end]
            at = skip_blanks(data, end, size)
            if at >= size or data[at] != c":":
                raise ValueError("a key without a value")
            begin = skip_blanks(data, at + 1, size)
            end = skip_value(data, begin, size)
            if end == begin or end > size:
                raise ValueError("no value, or one without an end")
            found.append((key, begin, end))
            at = skip_blanks(data, end, size)
            if at < size and data[at] == c"}":
                at += 1
                break
            if at >= size or data[at] != c",":
                raise ValueError("neither a comma nor the end behind a member")
            at = skip_blanks(data, at + 1, size)
    if skip_blanks(data, at, size) != size:
        raise ValueError("something behind the end")
    return found


def elements(bytes text not None, Py_ssize_t at, Py_ssize_t most):
    """Cut elements out of an array.

    Args:
        text: what it stands in.
        at: where it begins; or where an earlier call has left off.
        most: bytes, from which on it is enough; one element is returned in any case, if there is one left.

    Returns:
        The elements, and where to go on; -1: there are no more.

    Raises:
        ValueError: it is not JSON.
    """
    cdef const char *data = PyBytes_AS_STRING(text)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(text), start = at, begin, end
    cdef list found = []
    if data[at] == c"[":
        begin = skip_blanks(data, at + 1, size)
        if begin < size and data[begin] == c"]":
            return found, -1
    while True:
        begin = skip_blanks(data, at + 1, size)     # behind the bracket or the comma
        end = skip_value(data, begin, size)
        if end == begin or end > size:
            raise ValueError("no element, or one without an end")
        found.append(text[begin:end])
        at = skip_blanks(data, end, size)
        if at < size and data[at] == c"]":
            return found, -1
        if at >= size or data[at] != c",":
            raise ValueError("neither a comma nor the end behind an element")
        if at - start >= most:
            return found, at
