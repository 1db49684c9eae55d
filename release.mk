# The version of a release, its time, the place where it is published, and its
# maintainer. make (GNU and BSD), scripts/dist.sh and scripts/port.sh read this file.

VERSION = 0.1.0

# Noon of the day of the release, never in the future: mailcertd considers a clock
# wrong that is before it, and it is the time of every file in the tarball.
RELEASED = 2026-11-23T12:00:00Z

# The project has no public address yet. This URL becomes the port's WWW and
# MASTER_SITES, from which the tarball is fetched.
SITE = https://mailcertd.example/

MAINTAINER = ports@FreeBSD.org
