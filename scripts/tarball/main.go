// Command tarball writes a directory as a .tar.gz that depends on names,
// contents and executable bits alone: whichever tar, gzip, umask, user, file
// system or system makes it, it is the same file.
//
//	tarball -prefix mailcertd-0.1.0 -time 2026-01-31T12:00:00Z DIR FILE
package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"
)

func main() {
	prefix := flag.String("prefix", "", "the directory that everything lies in")
	when := flag.String("time", "", "modification time of every file, RFC 3339")
	flag.Parse()
	mtime, err := time.Parse(time.RFC3339, *when)
	if err == nil && (flag.NArg() != 2 || *prefix == "") {
		err = errors.New("usage: tarball -prefix NAME -time TIME DIR FILE")
	}
	if err == nil {
		err = write(flag.Arg(0), flag.Arg(1), *prefix, mtime)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tarball:", err)
		os.Exit(1)
	}
}

// write makes file from what is in dir. A file that is there only in part is
// never left behind.
func write(dir, file, prefix string, mtime time.Time) (err error) {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			out.Close()
			os.Remove(file)
		}
	}()
	zip := gzip.NewWriter(out) // no name and no time in its header
	w := tar.NewWriter(zip)
	if err := pack(w, dir, prefix, mtime); err != nil {
		return err
	}
	return errors.Join(w.Close(), zip.Close(), out.Close())
}

// pack adds the regular files in the order of their names, which is WalkDir's.
// Directories are left out: tar makes them as it needs them.
func pack(w *tar.Writer, dir, prefix string, mtime time.Time) error {
	return filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s: is no regular file (%s); a release holds nothing else", name, info.Mode().Type())
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		head := &tar.Header{
			Typeflag: tar.TypeReg, Format: tar.FormatUSTAR, Name: path.Join(prefix, filepath.ToSlash(rel)),
			Size: info.Size(), Mode: 0o644, ModTime: mtime, Uname: "root", Gname: "wheel",
		}
		if info.Mode()&0o100 != 0 {
			head.Mode = 0o755
		}
		if err := w.WriteHeader(head); err != nil {
			return err
		}
		in, err := os.Open(name)
		if err != nil {
			return err
		}
		defer in.Close()
		_, err = io.Copy(w, in)
		return err
	})
}
