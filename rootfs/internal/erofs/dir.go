package erofs

import (
	"encoding/binary"
	"sort"
)

// direntSize is an entry without its name.
const direntSize = 12

// An entry is a name in a directory.
type entry struct {
	name string
	node *node
}

// entries are those of a directory with "." and "..", in the order of their
// bytes, in which the kernel searches.
func (n *node) entries() []entry {
	up := n.parent
	if up == nil {
		up = n
	}
	list := make([]entry, 0, len(n.children)+2)
	list = append(list, entry{".", n}, entry{"..", up})
	for _, c := range n.children {
		list = append(list, entry{c.name, c.same()})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].name < list[j].name })
	return list
}

// block says how many of list fit into a block, and in how many bytes.
func fit(list []entry) (count, bytes int) {
	for _, e := range list {
		more := direntSize + len(e.name)
		if bytes+more > blockSize {
			break
		}
		bytes += more
		count++
	}
	return count, bytes
}

// dirSize is the length of a directory's data.
func dirSize(list []entry) (size int64) {
	for len(list) > 0 {
		count, bytes := fit(list)
		list = list[count:]
		if len(list) > 0 {
			bytes = blockSize
		}
		size += int64(bytes)
	}
	return size
}

// dirData is a directory's data: in each block the entries, then their names.
func dirData(list []entry, size int64) []byte {
	data := make([]byte, size)
	for b := data; len(list) > 0; b = b[min(len(b), blockSize):] {
		count, _ := fit(list)
		name := count * direntSize
		for i, e := range list[:count] {
			d := b[i*direntSize:]
			binary.LittleEndian.PutUint64(d, uint64(e.node.offset/slot))
			binary.LittleEndian.PutUint16(d[8:], uint16(name))
			d[10] = fileType(e.node.mode)
			name += copy(b[name:], e.name)
		}
		list = list[count:]
	}
	return data
}
