package report

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"mailcertd/internal/mta"
	"mailcertd/internal/plan"
	"mailcertd/internal/plan/given"
)

// A network error has the address and the system's reason, without the words of Go's library.
func TestPlain(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 25},
		Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	alert := &net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}
	for want, err := range map[string]error{"192.0.2.7:25: connection refused": refused, "bad certificate": alert,
		"asked twice: bad certificate": fmt.Errorf("asked twice: %w", alert), "another": errors.New("another")} {
		if got := plain(err); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// The error names the requested host name, which the peer's certificate lacks.
func TestPeerNamesWhatWasAsked(t *testing.T) {
	r := NewPeer(mta.PeerReport{Chain: []*x509.Certificate{given.Host().Seen.Certs.Cert.File.Certs[0]},
		NameErr: errors.New("x509: not valid for 192.0.2.7")},
		mta.PeerOptions{Host: "dhcp.home.example"})
	if want := "the certificate is for mail.home.example, not for dhcp.home.example"; r.NameError != want {
		t.Errorf("%q, want %q", r.NameError, want)
	}
}

// A listener with another certificate than the one on disk is a warning, sorted before every notice.
func TestServedIsNotOnDisk(t *testing.T) {
	other := Served{Addr: "127.0.0.1:25", Pair: "host-ecdsa", STARTTLS: true, Serial: "19"}
	r := Status{Problems: []plan.Problem{{Severity: plan.Error}, {Severity: plan.Notice}}}
	r.AddServed([]Served{other, {Addr: "127.0.0.1:25", STARTTLS: true, OnDisk: true}})
	if len(r.Problems) != 3 || r.Problems[1].Severity != plan.Warning || r.Problems[1].Reason != plan.PickupPending {
		t.Errorf("%+v", r.Problems)
	}
	r = Status{Sendmail: Sendmail{PickupPending: true}}
	if r.AddServed([]Served{other}); len(r.Problems) != 0 { // another problem reports it already
		t.Errorf("%+v", r.Problems)
	}
}
