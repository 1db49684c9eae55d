package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"mailcertd/internal/openssltest"
)

// node is a value of DER that can be changed and written again.
type node struct {
	head     []byte // its tag
	body     []byte // the body of a primitive value
	children []*node
	wide     bool // its length has one octet more than it needs
	endless  bool // it has an indefinite length
}

func parseNode(t *testing.T, der []byte) (*node, []byte) {
	t.Helper()
	e, rest, err := first(der)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{head: der[:1], body: e.body}
	for left := e.body; e.compound && len(left) > 0; {
		var child *node
		child, left = parseNode(t, left)
		n.children = append(n.children, child)
	}
	return n, rest
}

func (n *node) bytes() []byte {
	body := n.body
	if len(n.children) > 0 {
		body = nil
		for _, c := range n.children {
			body = append(body, c.bytes()...)
		}
	}
	out := bytes.Clone(n.head)
	switch {
	case n.endless:
		return append(append(append(out, 0x80), body...), 0, 0)
	case n.wide:
		out = append(out, 0x83, byte(len(body)>>16), byte(len(body)>>8), byte(len(body)))
	case len(body) < 0x80:
		out = append(out, byte(len(body)))
	case len(body) < 0x100:
		out = append(out, 0x81, byte(len(body)))
	default:
		out = append(out, 0x82, byte(len(body)>>8), byte(len(body)))
	}
	return append(out, body...)
}

func (n *node) walk(do func(*node)) {
	do(n)
	for _, c := range n.children {
		c.walk(do)
	}
}

// Every value of a certificate is changed in every way: its type, its length, its first octets, its parts. We refuse
// what d2i_X509(3) refuses, and accept what it accepts, or call it unreadable if only BER allows the form.
func TestTemplateAsLibssl(t *testing.T) {
	cert, key := host(t, ECDSAP256, x509.SHA256WithRSA)
	p, _ := pem.Decode(cert)
	root, _ := parseNode(t, p.Bytes)
	dir := t.TempDir()
	keyPath := filepath.Join(dir, "key")
	if err := os.WriteFile(keyPath, key, 0o600); err != nil {
		t.Fatal(err)
	}
	var names, questions []string
	var files [][]byte
	try := func(name string) {
		data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.bytes()})
		path := filepath.Join(dir, fmt.Sprint(len(files)))
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		names, files, questions = append(names, name), append(files, data),
			append(questions, "pair\t0\t"+path+"\t", "cas\t"+path)
	}
	at := 0
	root.walk(func(n *node) {
		at++
		was := *n
		change := func(what string, with func()) {
			with()
			try(fmt.Sprintf("value %d (%x): %s", at, was.head, what))
			*n = was
		}
		for tag := byte(1); tag < 31; tag++ {
			change(fmt.Sprintf("tag %d", tag), func() { n.head = []byte{tag | was.head[0]&0x20} })
		}
		change("tag of a context", func() { n.head = []byte{0x85 | was.head[0]&0x20} })
		change("constructed or not", func() { n.head = []byte{was.head[0] ^ 0x20} })
		change("empty", func() { n.body, n.children = nil, nil })
		change("a length with more octets than needed", func() { n.wide = true })
		change("no end", func() { n.endless = true })
		if len(n.children) > 0 {
			change("more",
				func() { n.children = append(n.children[:len(n.children):len(n.children)], &node{head: []byte{5}}) })
			change("one less", func() { n.children = n.children[1:] })
			change("without the last part", func() { n.children = n.children[:len(n.children)-1] })
			change("the first part twice", func() { n.children = append([]*node{n.children[0]}, n.children...) })
			return
		}
		for _, head := range []string{"\x00", "\x00\x00", "\x80", "\xff\xff", "\xd8\x00\xed\xa0\x80",
			"\x00\x11\x00\x00"} {
			change(fmt.Sprintf("%x before", head), func() { n.body = append([]byte(head), was.body...) })
			change(fmt.Sprintf("%x instead", head), func() { n.body = []byte(head) })
			for _, tag := range []byte{12, 28, 30, 20} {
				change(fmt.Sprintf("%x as %d", head, tag), func() { n.head, n.body = []byte{tag}, []byte(head) })
			}
		}
		change("an indefinite length", func() { n.body = append(bytes.Clone(was.body), 0x81) })
	})
	answers := openssltest.Libssl(t, questions)
	unsure := 0
	for i, name := range names {
		leaf := ReadLeafFile(files[i])
		err := leaf.Err
		if err == nil && leaf.Certs[0].PublicKey == nil {
			err = ErrUnsupported
		}
		for j, got := range []error{err, ReadCertFile(files[i]).Err} {
			switch theirs := answers[2*i+j]; {
			case errors.Is(got, ErrUnsupported):
				unsure++
			case (got == nil) != (theirs == "ok"):
				t.Errorf("%s: we say %v, libssl says %q", name, got, theirs)
			}
		}
	}
	t.Logf("%d certificates, %d are called unreadable", len(names), unsure)
}

// A certificate that OpenSSL refuses makes a CACertFile useless. It hides none of the others from a reader that takes
// them one by one.
func TestRefusedBesideOthers(t *testing.T) {
	a, _ := host(t, ECDSAP256, x509.SHA256WithRSA)
	b, _ := host(t, ECDSAP384, x509.SHA256WithRSA)
	p, _ := pem.Decode(a)
	root, _ := parseNode(t, p.Bytes)
	root.children = append(root.children, &node{head: []byte{5}})
	bad := EncodeCertificate(root.bytes())
	for name, data := range map[string][]byte{"first": bytes.Join([][]byte{bad, a, b}, nil),
		"between": bytes.Join([][]byte{a, bad, b}, nil), "last": bytes.Join([][]byte{a, b, bad}, nil)} {
		f := ReadCertFile(data)
		if len(f.Certs) != 2 || f.Refused != 1 || !errors.Is(f.Err, ErrRefused) || !errors.Is(f.Err, ErrGarbage) ||
			errors.Is(f.Err, ErrUnsupported) {
			t.Errorf("%s: %d certificates, %d refused, %v", name, len(f.Certs), f.Refused, f.Err)
		}
	}
	if f := ReadCertFile(append(bytes.Clone(bad), a[:len(a)/2]...)); !errors.Is(f.Err, ErrTruncated) {
		t.Errorf("with one that is cut off: %v", f.Err)
	}
	if f := ReadLeafFile(append(bytes.Clone(a), bad...)); f.Err != nil || f.Behind == nil {
		t.Errorf("after a leaf: %v, %v", f.Err, f.Behind)
	}
}

// openssl reads a request after a byte-order mark, and so do we.
func TestRequestBehindMark(t *testing.T) {
	openssltest.Need(t)
	key := openssl(t, nil, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
	csr := openssl(t, key, "req", "-new", "-key", "/dev/stdin", "-subj", "/CN=mx.example.org", "-config", "/dev/null")
	if _, err := requestBlock(append([]byte("\xef\xbb\xbf"), csr...)); err != nil {
		t.Error(err)
	}
}
