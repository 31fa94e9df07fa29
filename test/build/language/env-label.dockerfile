FROM scratch
ENV A=1 B="two words" C='single $A' D=esc\ aped E=a"b c"d
ENV LEGACY  the rest  of the line
ENV EMPTY=
LABEL one=1 "quoted key"="v w" \
      three=3
LABEL old style label
