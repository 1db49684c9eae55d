# The targets of mailcertd, for GNU make and BSD make.
#   make run    try it below ./demo, without root
#   make check  a quick part of the tests, without root
#   make test   everything that can be tested here

PREFIX ?= /usr/local
include release.mk
# An ACME CA is asked by HTTP/1.1, so net/http is built without HTTP/2: 0.5 MB less.
GOFLAGS_BUILD = -tags nethttpomithttp2 -trimpath -ldflags "-s -w -X main.version=$(VERSION) -X main.built=$(RELEASED) \
	-X main.defaultConfig=$(PREFIX)/etc/mailcertd.yaml"
TO = $(DESTDIR)$(PREFIX)
CONFIG = $(TO)/etc/mailcertd.yaml

all: build

build:
	CGO_ENABLED=0 go build $(GOFLAGS_BUILD) -o bin/mailcertd ./cmd/mailcertd

run: build
	@sh scripts/parts.sh -only sendmail sh scripts/demo.sh

test:
	@sh scripts/parts.sh sh scripts/test.sh

check:
	@sh scripts/check.sh

lint:
	@sh scripts/parts.sh sh scripts/test.sh lint

# Measures the speed, also compared with openssl and the base system's stanza, see bench/README.md.
bench: build
	@sh scripts/parts.sh -with bench sh scripts/bench.sh

fuzz:
	@sh scripts/fuzz.sh

# Builds step-ca, which takes some minutes the first time, and lets fifty hosts get their certificates from it.
step:
	@sh scripts/parts.sh -only test sh scripts/step.sh test

# Runs two mail hosts under random faults, as root. SOAK=5m sets the length, SEED=N repeats an earlier run, and FAULTS=0
# leaves test/faults out.
soak:
	@SOAK='$(SOAK)' SEED='$(SEED)' FAULTS='$(FAULTS)' sh scripts/parts.sh sh scripts/soak.sh

# dist makes the tarball of a release, see scripts/dist.sh; port also writes its checksum into the port.
dist:
	@sh scripts/dist.sh

port: dist
	@sh scripts/port.sh dist/mailcertd-$(VERSION).tar.gz

# An existing configuration is not changed.
install: build
	install -d $(TO)/sbin $(TO)/etc/rc.d $(TO)/etc/periodic/security $(TO)/share/man/man5 $(TO)/share/man/man8
	install -m 555 bin/mailcertd $(TO)/sbin/mailcertd
	install -m 644 etc/mailcertd.yaml.sample $(CONFIG).sample
	[ -e $(CONFIG) ] || [ -L $(CONFIG) ] || install -m 644 etc/mailcertd.yaml.sample $(CONFIG)
	sed 's|%%PREFIX%%|$(PREFIX)|g' rc.d/mailcertd > bin/rc.d
	install -m 555 bin/rc.d $(TO)/etc/rc.d/mailcertd
	sed 's|%%PREFIX%%|$(PREFIX)|g' etc/periodic/security/480.mailcertd > bin/periodic
	install -m 555 bin/periodic $(TO)/etc/periodic/security/480.mailcertd
	sed 's|/usr/local|$(PREFIX)|g' man/mailcertd.yaml.5 > bin/yaml.5
	install -m 444 bin/yaml.5 $(TO)/share/man/man5/mailcertd.yaml.5
	sed 's|/usr/local|$(PREFIX)|g' man/mailcertd.8 > bin/8
	install -m 444 bin/8 $(TO)/share/man/man8/mailcertd.8

# Stop the service first. deinstall keeps a changed configuration, every certificate,
# the CA and the state; run `mailcertd purge` before it to remove certificates, CA and state.
deinstall:
	if cmp -s $(CONFIG).sample $(CONFIG); then rm -f $(CONFIG); fi
	rm -f $(CONFIG).sample $(TO)/sbin/mailcertd $(TO)/etc/rc.d/mailcertd
	rm -f $(TO)/etc/periodic/security/480.mailcertd
	rm -f $(TO)/share/man/man5/mailcertd.yaml.5 $(TO)/share/man/man8/mailcertd.8

clean:
	rm -rf bin demo dist .parts

.PHONY: all build run check test lint bench fuzz step soak dist port install deinstall clean
