// Audits logs that were written or are served as C2SP tlog-tiles, with Go's own sumdb/note and sumdb/tlog: the
// implementations behind Go's checksum database know nothing of Syncra.
//
//	audit ROOT ORIGIN...
//
// ROOT is a directory or an http URL; below it each log has its origin as path. Prints a line for each log and exits 0, or
// says what does not verify and exits 1.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// C2SP's tiles are 2^8 wide.
const height = 8

// shelf is where the files of one log lie.
type shelf struct{ prefix string }

func (s shelf) read(name string) ([]byte, error) {
	if !strings.HasPrefix(s.prefix, "http://") {
		return os.ReadFile(filepath.Join(s.prefix, filepath.FromSlash(name)))
	}
	answer, err := http.Get(s.prefix + "/" + name)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", name, answer.Status)
	}
	return io.ReadAll(answer.Body)
}

// c2sp is the path that C2SP gives a tile: Go's own has the height in it, and "data" for entries.
func c2sp(tile tlog.Tile) string {
	path := strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", height))
	if strings.HasPrefix(path, "data/") {
		path = "entries/" + strings.TrimPrefix(path, "data/")
	}
	return "tile/" + path
}

func (s shelf) Height() int                         { return height }
func (s shelf) SaveTiles(_ []tlog.Tile, _ [][]byte) {}
func (s shelf) ReadTiles(tiles []tlog.Tile) (all [][]byte, err error) {
	for _, tile := range tiles {
		bytes, err := s.read(c2sp(tile))
		if err != nil {
			return nil, err
		}
		all = append(all, bytes)
	}
	return all, nil
}

// tree is the signed size and root.
func (s shelf) tree(origin string) (tree tlog.Tree, err error) {
	vkey, err := s.read("vkey")
	if err != nil {
		return tree, err
	}
	verifier, err := note.NewVerifier(strings.TrimSuffix(string(vkey), "\n"))
	if err != nil {
		return tree, err
	}
	signed, err := s.read("checkpoint")
	if err != nil {
		return tree, err
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return tree, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[3] != "" || lines[0] != origin || verifier.Name() != origin {
		return tree, fmt.Errorf("not a checkpoint of %s", origin)
	}
	if tree.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return tree, err
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return tree, fmt.Errorf("the root is malformed")
	}
	copy(tree.Hash[:], root)
	return tree, nil
}

// entries reads all bundles of a log.
func (s shelf) entries(size int64) (all [][]byte, err error) {
	for start := int64(0); start < size; start += 1 << height {
		width := size - start
		if width > 1<<height {
			width = 1 << height
		}
		tile := tlog.Tile{H: height, L: -1, N: start >> height, W: int(width)}
		bundle, err := s.read(c2sp(tile))
		if err != nil {
			return nil, err
		}
		for ; width > 0; width-- {
			if len(bundle) < 2 || len(bundle)-2 < int(binary.BigEndian.Uint16(bundle)) {
				return nil, fmt.Errorf("a bundle ends early")
			}
			end := 2 + int(binary.BigEndian.Uint16(bundle))
			all, bundle = append(all, bundle[2:end]), bundle[end:]
		}
		if len(bundle) > 0 {
			return nil, fmt.Errorf("a bundle has more than its entries")
		}
	}
	return all, nil
}

// widest leaves out tiles that another one begins with: Go lists partial tiles at every width.
func widest(tiles []tlog.Tile) (kept []tlog.Tile) {
	for i, tile := range tiles {
		if next := i + 1; next == len(tiles) || tiles[next].L != tile.L || tiles[next].N != tile.N {
			kept = append(kept, tile)
		}
	}
	return kept
}

// audit builds the tree anew from the entries and compares every tile with it; then it lets Go's client find its way by
// tiles alone. (That client by itself does not look at every tile that it reads: golang.org/x/mod up to 0.7 skips some.)
func audit(root, origin string) (string, error) {
	s := shelf{root + "/" + origin}
	tree, err := s.tree(origin)
	if err != nil {
		return "", err
	}
	entries, err := s.entries(tree.N)
	if err != nil {
		return "", err
	}
	var stored []tlog.Hash
	built := tlog.HashReaderFunc(func(indexes []int64) (hashes []tlog.Hash, err error) {
		for _, index := range indexes {
			hashes = append(hashes, stored[index])
		}
		return hashes, nil
	})
	for i, entry := range entries {
		more, err := tlog.StoredHashes(int64(i), entry, built)
		if err != nil {
			return "", err
		}
		stored = append(stored, more...)
	}
	hash, err := tlog.TreeHash(tree.N, built)
	if err != nil || hash != tree.Hash {
		return "", fmt.Errorf("the entries do not hash to the signed root: %v", err)
	}
	tiles := widest(tlog.NewTiles(height, 0, tree.N))
	for _, tile := range tiles {
		want, err := tlog.ReadTileData(tile, built)
		if err != nil {
			return "", err
		}
		found, err := s.read(c2sp(tile))
		if err != nil || !bytes.Equal(found, want) {
			return "", fmt.Errorf("%s is not the tile of these entries: %v", c2sp(tile), err)
		}
	}
	reader, proofs := tlog.TileHashReader(tree, s), 0
	for at := int64(0); at < tree.N; at += 1 + tree.N/16 {
		included, err := tlog.ProveRecord(tree.N, at, reader)
		if err != nil {
			return "", err
		}
		if err := tlog.CheckRecord(included, tree.N, tree.Hash, at, tlog.RecordHash(entries[at])); err != nil {
			return "", err
		}
		older, err := tlog.TreeHash(at+1, reader)
		if err != nil {
			return "", err
		}
		consistent, err := tlog.ProveTree(tree.N, at+1, reader)
		if err != nil {
			return "", err
		}
		if err := tlog.CheckTree(consistent, tree.N, tree.Hash, at+1, older); err != nil {
			return "", err
		}
		proofs += 2
	}
	return fmt.Sprintf("%d entries, %d tiles, %d proofs", tree.N, len(tiles), proofs), nil
}

func main() {
	for _, origin := range os.Args[2:] {
		said, err := audit(strings.TrimSuffix(os.Args[1], "/"), origin)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", origin, err)
			os.Exit(1)
		}
		fmt.Println(said)
	}
}
