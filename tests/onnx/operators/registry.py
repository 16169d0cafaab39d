"""`OPERATORS`, and how functions come into it."""

OPERATORS = {}


def operator(*names):
    def register(function):
        OPERATORS.update({name: function for name in names})
        return function

    return register


def single(*names):
    """For functions that give one value."""

    def register(function):
        OPERATORS.update({name: lambda cx, f=function: [f(cx)] for name in names})
        return function

    return register
