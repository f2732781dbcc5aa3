"""Small mistakes put into the code of libs/policy one at a time, to see that a test notices each (`make mutation`)."""
