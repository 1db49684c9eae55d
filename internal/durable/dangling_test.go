package durable

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A link leads to a file system that is not mounted. Nothing is made at its target, and the error says what is missing,
// where mkdir(2) would say that the file exists.
func TestMakeDirAtADanglingLink(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "CA")
	if err := os.Symlink("volume/CA", link); err != nil {
		t.Fatal(err)
	}
	for name, mkdir := range map[string]func() error{
		"Mkdir":    func() error { return (&Disk{}).Mkdir(link, 0o700) },
		"MkdirAll": func() error { return (&Disk{}).MkdirAll(filepath.Join(link, "newcerts"), 0o700) },
		"MakeDirs": func() error { return (&Disk{}).MakeDirs(link, 0o700) },
	} {
		if err := mkdir(); err == nil || !strings.Contains(err.Error(),
			link+" is a symbolic link to volume/CA, which does not exist") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "volume")); !os.IsNotExist(err) {
		t.Errorf("a directory was made at the link's target: %v", err)
	}
}
