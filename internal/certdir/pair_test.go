package certdir

import (
	"os"
	"path/filepath"
	"testing"

	"mailcertd/internal/durable"
)

// The list is complete, contains each name once, and names a file after the files that it needs.
func TestFiles(t *testing.T) {
	t.Parallel()
	want := []string{"cacert.pem", "dh.param", "crl.pem", "host.key", "host.cert", "host-ecdsa.key", "host-ecdsa.cert",
		"client.key", "client.cert"}
	if len(Files()) != len(want) {
		t.Fatalf("%d files, want %d", len(Files()), len(want))
	}
	for i, f := range Files() {
		if f.Name != want[i] {
			t.Errorf("file %d is %s, want %s", i, f.Name, want[i])
		}
		if of, ok := FileOf(f.Name); !ok || of != f {
			t.Errorf("%s is not found by its name: %+v", f.Name, of)
		}
		if atStart := f.Pair != Client; f.ReadAtStart() != atStart {
			t.Errorf("%s: read at start: %v", f.Name, f.ReadAtStart())
		}
	}
	if _, ok := FileOf("host.pem"); ok {
		t.Error("host.pem is found, and is not a file of the set")
	}
}

// Observe finds the file of each name in the list, and Put gives the same as an observation of the same content.
func TestEveryFileIsSeen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, f := range Files() {
		if err := os.WriteFile(filepath.Join(dir, f.Name), []byte("content of "+f.Name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := Observe(dir)
	if len(d.Extra) > 0 {
		t.Errorf("files of the list are among the other names: %v", d.Extra)
	}
	var after Dir
	for _, f := range Files() {
		n, digest := d.File(f.Name)
		if n.Path != filepath.Join(dir, f.Name) || !n.Exists || digest != sum([]byte("content of "+f.Name)) {
			t.Errorf("%s: seen as %s, %x", f.Name, n.Path, digest)
		}
		after.Put(f.Name, durable.Node{Exists: true, IsRegular: true, Data: []byte("content of " + f.Name)})
		if _, put := after.File(f.Name); put != digest {
			t.Errorf("%s: put as %x", f.Name, put)
		}
		if f.Kind == KindKey && d.Pair(f.Pair).Key.Node.Data != nil {
			t.Errorf("%s: the private key is kept", f.Name)
		}
	}
}
