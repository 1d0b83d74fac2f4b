"""A control group as version 2 of the kernel's files tells it, written down as files."""

V2 = {
    "memory.current": "104857600\n",
    "memory.stat": "anon 41943040\nfile 52428800\nkernel 6291456\nslab 2097152\nsock 4096\nshmem 1048576\n"
    "inactive_file 31457280\npgfault 1000\npgmajfault 10\nworkingset_refault_anon 3\nworkingset_refault_file 4\n",
    "memory.events": "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\n",
    "memory.max": "268435456\n",
    "memory.high": "max\n",
    "memory.peak": "123456789\n",
    "memory.swap.current": "8192\n",
    "memory.swap.max": "max\n",
    "cpu.stat": "usage_usec 3000000\nuser_usec 2000000\nsystem_usec 1000000\nnr_periods 40\nnr_throttled 10\n"
    "throttled_usec 2500000\nnr_bursts 0\nburst_usec 0\n",
    "cpu.max": "50000 100000\n",
    "pids.current": "17\n",
    "pids.max": "max\n",
    "io.stat": "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n8:16 rbytes=1024 wbytes=0 rios=1 wios=0\n253:0\n",
    "cpu.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=14036781\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=8494\n",
    "io.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=159886802\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=159229614\n",
    "memory.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
}


def put(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
