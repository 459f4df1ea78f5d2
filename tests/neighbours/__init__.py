"""One site can never stop the others: a hostile one beside one that is asked all the time."""
