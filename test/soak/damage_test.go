package soak

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// setFile picks a file or link of the certs directory.
func (h *host) setFile(dice *rand.Rand) string {
	names := []string{"host.cert", "host.cert", "host.key", "cacert.pem", "dh.param"}
	if links, _ := filepath.Glob(h.Path(certs) + "/*.0"); len(links) > 0 && dice.IntN(6) == 0 {
		return links[0]
	}
	return filepath.Join(h.Path(certs), one(dice, names))
}

// caFile picks a file of the CA that can be made again, so neither its key nor its certificate.
func (h *host) caFile(dice *rand.Rand) string {
	name := one(dice, []string{"serial", "index.txt", "index.txt.attr", "crlnumber", "crl.pem",
		"openssl.cnf", "newcerts"})
	path := filepath.Join(h.Path(caDir), name)
	if name == "newcerts" {
		if all, _ := filepath.Glob(path + "/*.pem"); len(all) > 0 {
			return one(dice, all)
		}
	}
	return path
}

// rubbish picks a content that people and machines leave in a file by mistake.
func rubbish(dice *rand.Rand) string {
	noise := make([]byte, 1+dice.IntN(4000))
	for i := range noise {
		noise[i] = byte(dice.Uint32())
	}
	return one(dice, []string{"", "\n", string(noise), "<html>\n<body>404</body>\n",
		"-----BEGIN CERTIFICATE-----\nMIIB\n",
		"-----BEGIN CERTIFICATE-----\nMIIBsjCCAVmgAwIBAgI=\n-----END CERTIFICATE-----\n",
		"-----BEGIN PRIVATE KEY-----\n", strings.Repeat("\x00", 4096)})
}

func truncate(path string, dice *rand.Rand) (string, error) {
	st, err := os.Lstat(path)
	if err != nil || !st.Mode().IsRegular() || st.Size() == 0 {
		return path, err
	}
	return path, os.Truncate(path, dice.Int64N(st.Size()))
}

// regular reports whether reading the file comes to an end, as reading a FIFO may not.
func regular(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}

// overwrite writes in place, as `cat >` does.
func overwrite(path, text string) (string, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return path, err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return path, err
}

// rewrite does what an editor does: it writes the same content into another file and renames that over the first.
func rewrite(path string) (string, error) {
	if !regular(path) {
		return path, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return path, err
	}
	st, err := os.Stat(path)
	if err != nil {
		return path, err
	}
	if err := os.WriteFile(path+"~", b, st.Mode().Perm()); err != nil {
		return path, err
	}
	return path, os.Rename(path+"~", path)
}

// filled writes into a file until the disk is full, and returns how many octets it wrote.
func filled(path string) (octets int) {
	f, err := os.Create(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		n, err := f.Write(block)
		octets += n
		if err != nil {
			block = block[:len(block)/4]
		}
	}
	return octets
}

// slowly copies a file over itself in place, as scp does over a slow line.
func (h *host) slowly(path string, step time.Duration) {
	if !regular(path) {
		return
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	for len(b) > 0 && h.s.pause(step) {
		n := min(100, len(b))
		_, _ = f.Write(b[:n])
		b = b[n:]
	}
}

// fifo makes a FIFO. release ends the wait of a process that reads it, even after the FIFO was removed: sendmail calls
// it unsafe, but OpenSSL in the same process opens it.
func fifo(path string) (release func(), err error) {
	if err := syscall.Mkfifo(path, 0o644); err != nil {
		return func() {}, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		return func() {}, err
	}
	return func() { _ = f.Close() }, nil
}
