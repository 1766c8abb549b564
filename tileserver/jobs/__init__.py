"""Jobs on a whole photograph, which may take hours and can be interrupted and resumed."""
