package acme

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"

	"mailcertd/internal/issuer"

	"github.com/mholt/acmez/v3/acme"
	"golang.org/x/sys/unix"
)

// Ready says why this host could not answer http-01 now; nil: it can. Nothing is written, and nothing listens: the port
// is bound and given back, which needs no listen(2).
func (l Listener) Ready() error {
	if l.Webroot != "" {
		return tryWebroot(l.Webroot)
	}
	if err := bindable(l.Listen); err != nil {
		return (&listenWay{address: l.Listen}).occupied(err)
	}
	return nil
}

// bindable binds a socket as net.Listen does, and closes it.
func bindable(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		return err
	}
	var all []unix.Sockaddr
	switch ip, bad := netip.ParseAddr(host); {
	case host == "": // both families where the system has both
		all = []unix.Sockaddr{&unix.SockaddrInet6{Port: n}, &unix.SockaddrInet4{Port: n}}
	case bad != nil:
		return bad
	case ip.Is4():
		all = []unix.Sockaddr{&unix.SockaddrInet4{Port: n, Addr: ip.As4()}}
	default:
		all = []unix.Sockaddr{&unix.SockaddrInet6{Port: n, Addr: ip.As16()}}
	}
	for _, sa := range all {
		err = bind(sa)
		if !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EADDRNOTAVAIL) {
			break
		}
	}
	return err
}

func bind(sa unix.Sockaddr) error {
	family := unix.AF_INET
	if _, is := sa.(*unix.SockaddrInet6); is {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	unix.CloseOnExec(fd)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if family == unix.AF_INET6 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0)
	}
	return os.NewSyscallError("bind", unix.Bind(fd, sa))
}

// RecordName is the name of the TXT record by which dns-01 proves a name.
func RecordName(name string) string { return about(name).DNS01TXTRecordName() }

// about is a challenge for a name, for what does not depend on the CA's answer.
func about(name string) acme.Challenge {
	return acme.Challenge{Identifier: acme.Identifier{Type: "dns", Value: strings.TrimPrefix(name, "*.")}}
}

// Standing says which record of dns-persist-01 a name lacks, as a line of a zone file; nil: it has one. issuers are the
// CA's own domain names.
func (i *Issuer) Standing(ctx context.Context, name string, issuers []string) error {
	a, err := i.Account()
	if err != nil {
		return err
	}
	at := about(name).DNSPersist01TXTRecordName()
	unknown := ""
	switch {
	case a.URL == "":
		unknown = "must contain the URL of the account, and there is none yet: run `mailcertd renew`, which creates it"
	case len(issuers) == 0:
		unknown = "must contain a name that the CA sends only with an order: run `mailcertd renew`, which places one"
	}
	if unknown != "" {
		return issuer.Refusal{Kind: issuer.KindChallenge, Reason: "the record " + at + " " + unknown +
			" and prints the record; add the record, then run it again, which continues the same order"}
	}
	found, err := i.o.Lookup(ctx, at)
	if err != nil {
		return err
	}
	wildcard := strings.HasPrefix(name, "*.")
	for _, value := range found {
		if permits(value, issuers, a.URL, wildcard, i.o.Now()) {
			return nil
		}
	}
	account := acme.Account{Location: a.URL}
	return standingRefusal(at, about(name).DNSPersist01TXTRecordValue(account, issuers[0], wildcard))
}
