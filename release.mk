# What a release is called, when it was made, and where it is published: the one
# place of all four. Read by make (both kinds) and by scripts/dist.sh and port.sh.

VERSION = 0.1.0

# Noon of the day, never in the future: mailcertd believes no clock that is
# before it, and every file in the tarball bears it.
RELEASED = 2026-11-23T12:00:00Z

# The project has no public address yet. Publishing is this line: it becomes the
# port's WWW, and the tarball is fetched from below it.
SITE = https://mailcertd.example/

MAINTAINER = ports@FreeBSD.org
