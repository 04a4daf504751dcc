# A process with a child and a grandchild, of which none ends by itself.
import os
import time

if os.fork() == 0 and os.fork() == 0:
    os.write(1, b"ready\n")
while True:
    time.sleep(1)
