package loader

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkOpen opens and closes models that are warm: HEFT_MODEL, if that is
// set, and a checkpoint of the shape of DeepSeek-V3, 163 shards with about
// 92,000 tensors in sparse files. With BackendAuto that includes mapping.
func BenchmarkOpen(b *testing.B) {
	paths := map[string]string{"163 shards": largeCheckpoint(b)}
	if path := os.Getenv("HEFT_MODEL"); path != "" {
		paths[filepath.Base(path)] = path
	}
	for name, path := range paths {
		for _, backend := range []Backend{BackendMmap, BackendRead} {
			b.Run(fmt.Sprint(name, "/", backend), func(b *testing.B) {
				for b.Loop() {
					m, err := Open(path, WithBackend(backend))
					if err != nil {
						b.Fatal(err)
					}
					m.Close()
				}
			})
		}
	}
}

func BenchmarkTensor(b *testing.B) {
	m := mustOpen(b, largeCheckpoint(b))
	for b.Loop() {
		if _, err := m.Tensor("model.layers.30.mlp.experts.100.down_proj.weight"); err != nil {
			b.Fatal(err)
		}
	}
}

// largeCheckpoint writes an index and sparse shards for 61 layers of 256
// experts, and returns the index's path.
func largeCheckpoint(b *testing.B) string {
	b.Helper()
	const layers, experts, shards = 61, 256, 163
	var names []string
	for l := range layers {
		layer := fmt.Sprintf("model.layers.%d.", l)
		for _, n := range []string{"input_layernorm", "self_attn.kv_a_proj_with_mqa", "self_attn.kv_b_proj", "self_attn.o_proj", "self_attn.q_a_proj", "self_attn.q_b_proj"} {
			names = append(names, layer+n+".weight")
		}
		for e := range experts {
			for _, n := range []string{"down_proj", "gate_proj", "up_proj"} {
				name := fmt.Sprintf("%smlp.experts.%d.%s.weight", layer, e, n)
				names = append(names, name, name+"_scale_inv")
			}
		}
	}
	dir := b.TempDir()
	path := filepath.Join(dir, "model.safetensors.index.json")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	fmt.Fprint(w, "{\n  \"metadata\": {\n    \"total_size\": 688586727753\n  },\n  \"weight_map\": {")
	sep := "\n"
	for s := range shards {
		shard := fmt.Sprintf("model-%05d-of-%06d.safetensors", s+1, shards)
		part := names[s*len(names)/shards : (s+1)*len(names)/shards]
		writeSparse(b, filepath.Join(dir, shard), part)
		for _, name := range part {
			fmt.Fprintf(w, "%s    %q: %q", sep, name, shard)
			sep = ",\n"
		}
	}
	fmt.Fprint(w, "\n  }\n}\n")
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	return path
}

// writeSparse writes a shard with tensors of the given names whose data takes no room on the disk.
func writeSparse(b *testing.B, path string, names []string) {
	b.Helper()
	var header strings.Builder
	header.WriteString(`{"__metadata__":{"format":"pt"}`)
	end := int64(0)
	for _, name := range names {
		dtype, shape, size := "F8_E4M3", "[7168,2048]", int64(7168*2048)
		if strings.HasSuffix(name, "_inv") {
			dtype, shape, size = "F32", "[56,16]", 56*16*4
		}
		fmt.Fprintf(&header, `,%q:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`, name, dtype, shape, end, end+size)
		end += size
	}
	header.WriteString("}")
	for header.Len()%8 != 0 {
		header.WriteString(" ")
	}
	content := append(binary.LittleEndian.AppendUint64(nil, uint64(header.Len())), header.String()...)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		b.Fatal(err)
	}
	if err := os.Truncate(path, int64(len(content))+end); err != nil {
		b.Fatal(err)
	}
}
