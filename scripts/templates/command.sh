# onnxtool @name@: tests of the whole tool; tests/cmd/lib.sh has the helpers.
t 0 onnxtool @name@
is out hello
t 0 onnxtool @name@ world
is out world
t 2 onnxtool @name@ --no-such-option
