package acme

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// TestListenerReady: a port that is taken is told with its holder, and trying it leaves nothing behind.
func TestListenerReady(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := ln.Addr().String()
	err = Listener{Listen: at}.Ready()
	if err == nil || !strings.Contains(err.Error(), "address already in use") ||
		!strings.Contains(err.Error(), "webroot") {
		t.Fatalf("a port that is taken: %v", err)
	}
	if pid := "process " + strconv.Itoa(os.Getpid()); runtime.GOOS == "linux" && !strings.Contains(err.Error(), pid) {
		t.Errorf("%v does not name %s", err, pid)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := (Listener{Listen: at}).Ready(); err != nil {
			t.Errorf("a free port: %v", err)
		}
	}
	if c, err := net.Dial("tcp", at); err == nil {
		_ = c.Close()
		t.Error("something listens")
	}
	if err := (Listener{Listen: "192.0.2.77:0"}).Ready(); err == nil {
		t.Error("an address of another host")
	}
}

// TestWebrootReady: a webroot that cannot be written into is told, and nothing is written into one that can.
func TestWebrootReady(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"fine", "outside", "file", "leaves"} {
		if err := os.Mkdir(path(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path("file/.well-known"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../outside", path("leaves/.well-known")); err != nil {
		t.Fatal(err)
	}
	for name, says := range map[string]string{"fine": "", "missing": "no such file", "file": "not a directory",
		"leaves": "escapes"} {
		err := Listener{Webroot: path(name)}.Ready()
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", name, err, says)
		}
	}
	if left, err := os.ReadDir(path("fine")); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

// TestSockstatHolder: FreeBSD's sockstat says who listens.
func TestSockstatHolder(t *testing.T) {
	for lines, want := range map[string]string{
		"www      nginx      1234  6   tcp4   *:80      *:*\nroot nginx 1233 6 tcp4 *:80 *:*\n": "nginx (process 1234)",
		"?        ?          ?     ?   tcp4   *:80      *:*\n":                                  "",
		"": "",
	} {
		if got := sockstatHolder(lines); got != want {
			t.Errorf("%q: %q", lines, got)
		}
	}
}
