"""A look at a whole deployment from outside: deploy, warm, talk, deploy again, and say what is not as expected."""
