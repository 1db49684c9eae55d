package ca

import (
	"context"
	"crypto/x509"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/durable"
)

// The tests of the database name certificates by their serials 01, 02 and so on, which are counted in the serial file.
// TestSerials draws them at random.
func TestMain(m *testing.M) {
	testOnlyDraw = counted
	restWait = time.Millisecond
	os.Exit(m.Run())
}

// opensslCounts changes the CA's openssl.cnf so that openssl counts its serials, as in a CA made by hand.
func opensslCounts(t testing.TB, dir string) {
	t.Helper()
	path := filepath.Join(dir, confName)
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, []byte(strings.Replace(string(data), "rand_serial", "# rand_serial", 1)), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func counted(o *Observed) *big.Int {
	n, err := o.db.nextSerial(o.Serial)
	if err != nil {
		panic(err)
	}
	o.Serial = new(big.Int).Add(n, big.NewInt(1))
	if err := os.WriteFile(filepath.Join(o.Dir.Path, serialName), []byte(FormatSerial(o.Serial)+"\n"),
		0o644); err != nil {
		panic(err)
	}
	return n
}

// nextGeneration starts the next generation and puts it in force at once.
func nextGeneration(ctx context.Context, disk *durable.Disk, o Options, rnd io.Reader,
	now time.Time) (*x509.Certificate, error) {
	if _, err := StartNext(ctx, disk, o, rnd, now); err != nil {
		return nil, err
	}
	return Promote(ctx, disk, o)
}
