"""Where does one request end and the next begin? `gateway.protocol` beside h11, on the same bytes.

``make test`` tries some thousand streams; ``python -m suites.framing --minutes 60`` goes on for
longer. `refusals` is the written list of what one of the two refuses and the other does not.
"""
