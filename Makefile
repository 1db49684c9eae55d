# mailcertd. Works with GNU make and BSD make.
#   make run    try it below ./demo, without root
#   make test   everything that can be tested here

PREFIX ?= /usr/local
VERSION ?= devel
GOFLAGS_BUILD = -trimpath -ldflags "-s -w -X main.version=$(VERSION)"

all: build

build:
	CGO_ENABLED=0 go build $(GOFLAGS_BUILD) -o bin/mailcertd ./cmd/mailcertd

run: build
	@sh scripts/demo.sh

test:
	@sh scripts/test.sh

lint:
	@sh scripts/test.sh lint

# Ratios against openssl and the base system's stanza, see bench/README.md.
bench: build
	@sh scripts/bench.sh

fuzz:
	@sh scripts/fuzz.sh

install: build
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/etc/rc.d
	install -m 555 bin/mailcertd $(DESTDIR)$(PREFIX)/sbin/mailcertd
	install -m 644 etc/mailcertd.yaml.sample $(DESTDIR)$(PREFIX)/etc/mailcertd.yaml.sample
	sed 's|%%PREFIX%%|$(PREFIX)|g' rc.d/mailcertd > $(DESTDIR)$(PREFIX)/etc/rc.d/mailcertd
	chmod 555 $(DESTDIR)$(PREFIX)/etc/rc.d/mailcertd

clean:
	rm -rf bin demo

.PHONY: all build run test lint bench fuzz install clean
